"""What is read off the servers' pages of metrics."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from loadtest.servers import Scrape, gateway_load, grown, model_loads, read_page
from mien.gateway.measurements import GatewayMetrics

TRITON = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="emotion",version="1"}} {requests}
nv_inference_request_success{{model="idle",version="1"}} 7
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{{model="emotion",reason="REJECTED",version="1"}} 2
# TYPE nv_inference_count counter
nv_inference_count{{model="emotion",version="1"}} {faces}
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{{model="emotion",version="1"}} {batches}
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{{model="emotion",version="1"}} {queue_us}
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{{model="emotion",version="1"}} {compute_us}
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.5
"""


def page(requests: int, faces: int, batches: int, queue_us: int, compute_us: int) -> Scrape:
    return read_page(
        TRITON.format(requests=requests, faces=faces, batches=batches, queue_us=queue_us, compute_us=compute_us)
    )


def test_a_models_load_is_what_its_counters_grew_by() -> None:
    (load,) = model_loads(grown([page(10, 10, 10, 0, 0), Scrape(1.0), page(110, 410, 110, 50_000, 200_000)]))
    assert (load.model, load.requests, load.faces, load.batches) == ("emotion", 100, 400, 100)
    assert (load.batch_size, load.queue_ms, load.compute_ms) == (4.0, 0.5, 2.0)


def test_a_server_that_restarted_counts_from_nothing() -> None:
    counts = grown([page(100, 100, 100, 0, 0), page(150, 150, 150, 0, 0), page(30, 30, 30, 0, 0)])
    assert counts["nv_inference_request_success", "emotion"] == 80


def test_a_page_that_never_answered_gives_nothing() -> None:
    assert model_loads(grown([Scrape(0.0), Scrape(1.0)])) == []
    assert gateway_load(grown([])) is None


def test_gauges_are_read() -> None:
    assert page(0, 0, 0, 0, 0).gauges == {"processor use of the machine": 0.5}


def test_only_pictures_count_as_the_gateways_load() -> None:
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    before = read_page(generate_latest(registry).decode())
    for _ in range(10):
        metrics.requests.labels("POST", "/v1/detect", "200").inc()
        metrics.seconds.labels("POST", "/v1/detect").observe(0.05)
        metrics.detect_seconds.observe(0.03)
        metrics.requests.labels("GET", "/metrics", "200").inc()
        metrics.seconds.labels("GET", "/metrics").observe(5.0)
    metrics.requests.labels("POST", "/v1/detect", "429").inc()
    load = gateway_load(grown([before, read_page(generate_latest(registry).decode())]))
    assert load is not None
    assert load.requests == {"200": 10, "429": 1}
    assert (load.request_ms, load.detect_ms, load.infer_ms) == (pytest.approx(50), pytest.approx(30), 0)
