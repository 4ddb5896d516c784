"""Figures of the traffic, for Prometheus: what a client's hooks report, counted.

Needs the extra `metrics`.

Example:
    >>> from mien import EmotionClient
    >>> from mien.metrics import TrafficMetrics
    >>> from prometheus_client import start_http_server
    >>> metrics = TrafficMetrics()
    >>> start_http_server(9100)
    >>> client = EmotionClient(
    ...     on_result=metrics.count_result, on_comparison=metrics.count_comparison, on_miss=metrics.count_miss
    ... )
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.contract import CONFIDENCE_BOUNDS

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise ImportError("mien.metrics needs the extra `metrics`: pip install 'mien[metrics]'.") from error

if TYPE_CHECKING:
    from mien.results import Comparison, Miss, Result

LATENCY_BOUNDS_S = tuple(seconds for power in range(13) for seconds in (0.001 * 2**power, 0.0015 * 2**power))
"""Upper bounds of the histograms of latencies: two for each doubling, 1 ms to 6 s, so that an estimate of a quantile is
within half of the true value."""


class TrafficMetrics:
    """Counts what a client's hooks report; may be shared by clients and by threads.

    Args:
        registry: where the metrics are registered, once; by default prometheus_client's own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = REGISTRY if registry is None else registry
        pair = ("model", "release", "candidate")
        self._predictions = Counter(
            "mien_predictions",
            "Faces, or windows of speech, by dominant emotion.",
            ("model", "label", "release"),
            registry=registry,
        )
        self._confidence = Histogram(
            "mien_confidence",
            "Probability of the dominant emotion of each face, or window of speech.",
            ("model", "release"),
            registry=registry,
            buckets=CONFIDENCE_BOUNDS,
        )
        self._infer = Histogram(
            "mien_infer_seconds",
            "Time the server was asked for by the call of each face, or window of speech.",
            ("model",),
            registry=registry,
            buckets=LATENCY_BOUNDS_S,
        )
        self._detect = Histogram(
            "mien_detect_seconds",
            "Time spent on decoding the picture of each face and finding faces in it.",
            registry=registry,
            buckets=LATENCY_BOUNDS_S,
        )
        self._shadow_calls = Counter(
            "mien_shadow_calls", "Calls that the candidate answered too.", pair, registry=registry
        )
        self._shadow_faces = Counter(
            "mien_shadow_faces",
            "Faces, or windows of speech, that the candidate classified too, by whether both name the same emotion.",
            (*pair, "agreed"),
            registry=registry,
        )
        self._shadow_seconds = Histogram(
            "mien_shadow_seconds",
            "Time the server was asked for by calls that both releases answered; role is release or candidate.",
            ("role", *pair),
            registry=registry,
            buckets=LATENCY_BOUNDS_S,
        )
        self._misses = Counter(
            "mien_candidate_misses",
            "Calls that the candidate was due and did not answer; reason is dropped or failed.",
            ("model", "candidate", "reason"),
            registry=registry,
        )

    def count_result(self, result: Result) -> None:
        """Count one classified face, or window of speech: a client's `on_result`."""
        self._predictions.labels(result.ensemble, result.label, result.model_version).inc()
        self._confidence.labels(result.ensemble, result.model_version).observe(result.confidence)
        self._infer.labels(result.ensemble).observe(result.infer_s)
        if result.detect_s:
            self._detect.observe(result.detect_s)

    def count_comparison(self, comparison: Comparison) -> None:
        """Count one call that a candidate answered too: a client's `on_comparison`."""
        pair = (comparison.ensemble, comparison.release, comparison.candidate)
        self._shadow_calls.labels(*pair).inc()
        self._shadow_faces.labels(*pair, "true").inc(comparison.agreed)
        self._shadow_faces.labels(*pair, "false").inc(comparison.faces - comparison.agreed)
        self._shadow_seconds.labels("release", *pair).observe(comparison.release_s)
        self._shadow_seconds.labels("candidate", *pair).observe(comparison.candidate_s)

    def count_miss(self, miss: Miss) -> None:
        """Count one call that the candidate did not answer: a client's `on_miss`."""
        self._misses.labels(miss.ensemble, miss.candidate, miss.reason).inc()
