"""What the servers count of themselves while they are under load: Triton's and the gateway's Prometheus pages."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

INTERVAL_S = 1.0
TIMEOUT_S = 2.0

_COMPUTE = ("nv_inference_compute_input", "nv_inference_compute_infer", "nv_inference_compute_output")
_GAUGES = {"nv_gpu_utilization": "GPU use", "nv_cpu_utilization": "processor use of the machine"}
_DETECT = ("/v1/detect", "/detect")

Counts = Mapping[tuple[str, str], float]
"""Values of counters by name (without ``_total``) and model, status or nothing."""


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What one model did during the test, by Triton's counters.

    Attributes:
        model: its name.
        requests: answered.
        failures: not answered.
        faces: inferences, one for each row of a batch.
        batches: executions.
        queue_ms: mean time of a request in the queue.
        compute_ms: mean time of a request in the backend, with its inputs and outputs.
    """

    model: str
    requests: int
    failures: int
    faces: int
    batches: int
    queue_ms: float
    compute_ms: float

    @property
    def batch_size(self) -> float:
        """Mean faces of an execution; for an ensemble, which runs nothing itself, 0."""
        return self.faces / self.batches if self.batches else 0.0


@dataclass(frozen=True, slots=True)
class GatewayLoad:
    """What the gateway did during the test, by its own counters.

    Attributes:
        requests: pictures by HTTP status.
        request_ms: mean time from a request's first byte to its answer's last.
        detect_ms: mean time for decoding a picture and finding its faces.
        infer_ms: mean time that Triton was asked for.
    """

    requests: dict[str, int]
    request_ms: float
    detect_ms: float
    infer_ms: float


@dataclass(slots=True)
class Scrape:
    """One look at a page of metrics; empty if it did not answer."""

    second: float
    counts: Counts = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)


class MetricsWatch:
    """Scrapes pages of metrics from the start to the end of a `with` block, once a second.

    Args:
        pages: URL by name.
        headers: HTTP headers by name of the page.
    """

    def __init__(self, pages: Mapping[str, str], headers: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.scrapes: dict[str, list[Scrape]] = {name: [] for name in pages}
        self._pages = pages
        self._headers = headers or {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-watch", daemon=True)
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._look()

    def _look(self) -> None:
        for name, url in self._pages.items():
            request = urllib.request.Request(url, headers=dict(self._headers.get(name, {})))  # noqa: S310 - http(s), by the settings
            scrape = Scrape(time.perf_counter() - self._began)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                    scrape = read_page(answer.read().decode(), scrape.second)
            except (OSError, ValueError):
                pass  # an empty look says so
            self.scrapes[name].append(scrape)


def read_page(text: str, second: float = 0.0) -> Scrape:
    """The counters and gauges of a page that load tests show.

    Raises:
        ValueError: it is no page of metrics.
    """
    counts: defaultdict[tuple[str, str], float] = defaultdict(float)
    gauges: defaultdict[str, list[float]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if family.name in _GAUGES:
                gauges[_GAUGES[family.name]].append(sample.value)
            elif family.name == "mien_gateway_requests" and sample.name.endswith("_total"):
                if labels["route"] in _DETECT:
                    counts["mien_gateway_requests", labels["status"]] += sample.value
            elif family.name.startswith("mien_gateway_") and sample.name.endswith(("_sum", "_count")):
                if labels.get("route", _DETECT[0]) in _DETECT:
                    counts[sample.name, ""] += sample.value
            elif "model" in labels and family.name.startswith("nv_inference_"):
                counts[family.name, labels["model"]] += sample.value
    return Scrape(second, counts, {name: sum(values) / len(values) for name, values in gauges.items()})


def grown(scrapes: Iterable[Scrape]) -> Counts:
    """How much each counter grew over the looks; a server that restarted counts from nothing again."""
    total: defaultdict[tuple[str, str], float] = defaultdict(float)
    before: Counts | None = None
    for scrape in scrapes:
        if not scrape.counts:
            continue
        if before is not None:
            for key, value in scrape.counts.items():
                known = before.get(key, 0.0)
                total[key] += value - known if value >= known else value
        before = scrape.counts
    return total


def model_loads(counts: Counts) -> list[ModelLoad]:
    """What each model that was asked did."""
    loads = []
    for model in sorted({model for name, model in counts if name == "nv_inference_request_success"}):

        def value(name: str, model: str = model) -> float:
            return counts.get((name, model), 0.0)

        requests = value("nv_inference_request_success")
        failures = value("nv_inference_request_failure")
        if not requests and not failures:
            continue
        each_ms = 1e-3 / requests if requests else 0.0
        loads.append(
            ModelLoad(
                model=model,
                requests=round(requests),
                failures=round(failures),
                faces=round(value("nv_inference_count")),
                batches=round(value("nv_inference_exec_count")),
                queue_ms=value("nv_inference_queue_duration_us") * each_ms,
                compute_ms=sum(value(f"{part}_duration_us") for part in _COMPUTE) * each_ms,
            )
        )
    return loads


def gateway_load(counts: Counts) -> GatewayLoad | None:
    """What the gateway did; None if it was not asked."""
    requests = {
        status: round(count) for (name, status), count in counts.items() if name == "mien_gateway_requests" and count
    }
    if not requests:
        return None

    def mean_ms(name: str) -> float:
        count = counts.get((f"mien_gateway_{name}_seconds_count", ""), 0.0)
        return counts.get((f"mien_gateway_{name}_seconds_sum", ""), 0.0) / count * 1e3 if count else 0.0

    return GatewayLoad(requests, mean_ms("request"), mean_ms("detect"), mean_ms("infer"))


def mean_gauges(scrapes: Iterable[Scrape]) -> dict[str, float]:
    """The mean of each gauge over the looks, 0..1."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for scrape in scrapes:
        for name, value in scrape.gauges.items():
            seen[name].append(value)
    return {name: sum(values) / len(values) for name, values in seen.items()}
