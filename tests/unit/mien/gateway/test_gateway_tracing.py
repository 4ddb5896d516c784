from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mien import ClientSettings
from mien.errors import SettingsError
from mien.gateway import tracing
from mien.gateway.app import create_app
from mien.gateway.settings import GatewaySettings
from tests.unit.mien.conftest import PORTRAIT
from tests.unit.mien.gateway.conftest import calling

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.mien.gateway.conftest import MakeApp
    from tests.unit.mien.scripted_triton import ScriptedTriton

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "traced-1"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    return exporter


async def test_a_request_is_one_trace_from_its_caller_to_the_model_server(
    spans: InMemorySpanExporter, scripted: ScriptedTriton, tmp_path: Path
) -> None:
    settings = ClientSettings(endpoints=scripted.endpoint, detector="haar", deadline_s=60)
    app = create_app(GatewaySettings(spool=tmp_path, workers=1), settings)
    async with app.router.lifespan_context(app), calling(app) as caller:
        answer = await caller.post("/v1/detect", files={"image": PORTRAIT.read_bytes()}, headers=HEADERS)
    assert answer.status_code == 200, answer.text

    detect, infer, request = spans.get_finished_spans()
    assert [detect.name, infer.name, request.name] == ["detect", "infer", "POST /v1/detect"]
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == CALLER
    assert {f"{span.context.trace_id:032x}" for span in (detect, infer, request)} == {TRACE}
    assert detect.parent == infer.parent == request.context
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/detect",
        "http.response.status_code": 200,
        "mien.request_id": "traced-1",
    }
    (metadata,) = [metadata for _, metadata in scripted.requests if metadata.get("x-request-id") == "traced-1"]
    assert metadata["traceparent"] == f"00-{TRACE}-{infer.context.span_id:016x}-01"


async def test_a_path_that_is_none_is_not_in_the_trace(spans: InMemorySpanExporter, make_app: MakeApp) -> None:
    async with calling(make_app()) as caller:
        await caller.get("/somebody@example.org", headers=HEADERS)
    (request,) = spans.get_finished_spans()
    assert request.name == "any unmatched"
    assert "somebody" not in request.to_json()
    assert request.status.is_ok


def test_a_collector_that_is_set_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracing.ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"mien\[gateway,tracing\]"), tracing.exporting():
        pass
