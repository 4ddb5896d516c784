from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from flows.orchestration.run_metrics import FlowMetrics


def test_without_prefect_the_page_says_so() -> None:
    registry = CollectorRegistry()
    registry.register(FlowMetrics("http://127.0.0.1:9/api"))
    page = generate_latest(registry).decode()
    assert "mien_prefect_up 0.0" in page
    assert "mien_flow" not in page
