"""One request, from the gateway's first span to Triton's last, in one trace and under one request id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.collector import running_collector
from tests.conftest import ROOT
from tests.gateways import running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeServer, WaitUntil

pytestmark = pytest.mark.integration

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "traced-1"}


def test_tritons_spans_continue_the_gateways(
    make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    picture = (ROOT / "docs/portraits/astronaut.jpg").read_bytes()
    (tmp_path / "gateway").mkdir()
    with running_collector() as collector:
        server = make_server(tmp_path / "triton", trace_url=collector.http_url)
        server.start()
        server.wait_ready()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.grpc_url)
        with running_gateway(server.endpoint, tmp_path / "gateway", WORKERS="1") as gateway, gateway.client() as caller:
            caller.get("/somebody@example.org")
            caller.post("/v1/detect", files={"image": picture}, headers=HEADERS).raise_for_status()
        wait_until(lambda: sum(span.trace == TRACE for span in collector.spans) >= 9)

    spans = {span.span: span for span in collector.spans if span.trace == TRACE}
    parents = sorted((span.name, spans[span.parent].name if span.parent in spans else "") for span in spans.values())
    assert parents == [
        ("InferRequest", "infer"),
        ("POST /v1/detect", ""),
        ("compute", "emotion_classifier"),
        ("compute", "emotion_preprocess"),
        ("detect", "POST /v1/detect"),
        ("emotion", "InferRequest"),
        ("emotion_classifier", "emotion"),
        ("emotion_preprocess", "emotion"),
        ("infer", "POST /v1/detect"),
    ]
    assert not any("somebody" in f"{span.name}{span.attributes}" for span in collector.spans)
    services = {span.name: span.service for span in spans.values()}
    assert services["infer"] == "mien-gateway"
    assert services["emotion"] == "mien-triton"
    ids = {
        span.attributes.get("triton.request_id") or span.attributes.get("mien.request_id") for span in spans.values()
    }
    assert ids == {"traced-1", None}
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    assert {line["request_id"] for line in lines if line.get("route") == "/v1/detect"} == {"traced-1"}
