"""What the gateway counts for Prometheus, beside the traffic that `mien.metrics` counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class GatewayMetrics:
    """The gateway's own metrics.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "mien_gateway_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "mien_gateway_request_seconds",
            "Time from a request's first byte to the last of its answer.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.detect_seconds = Histogram(
            "mien_gateway_detect_seconds",
            "Time for decoding a picture and finding its faces.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.infer_seconds = Histogram(
            "mien_gateway_infer_seconds",
            "Time that the model server was asked for a picture's faces.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge("mien_gateway_in_flight", "Requests being answered.", registry=registry)
        self.cameras = Gauge("mien_gateway_cameras", "Cameras that are open.", registry=registry)
        self.recordings = Gauge("mien_gateway_recordings", "Recordings being analysed.", registry=registry)
        self.videos = Gauge("mien_gateway_videos", "Videos waiting or being analysed.", registry=registry)
