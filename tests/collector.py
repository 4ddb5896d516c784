"""A stand-in for OpenTelemetry's collector: takes spans over gRPC, from the gateway, and over HTTP, from Triton."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span of somebody's.

    Attributes:
        service: who sent it.
        name: of the step.
        trace: id of its trace, 32 hexadecimal digits.
        span: its own id, 16 of them.
        parent: id of the span around it; empty without.
        attributes: of text and whole numbers.
    """

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str]


@dataclass(slots=True)
class Collector:
    """What arrived, and where to send it."""

    grpc_url: str = ""
    http_url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Take spans on free ports."""
    collector = Collector()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
            for resource in request.resource_spans:
                service = _texts(resource.resource.attributes)["service.name"]
                collector.spans += [
                    ReceivedSpan(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _texts(span.attributes),
                    )
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
            return trace_service_pb2.ExportTraceServiceResponse()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in body["resourceSpans"]:
                service = _values(resource["resource"])["service.name"]
                collector.spans += [
                    ReceivedSpan(
                        service,
                        span["name"],
                        span["traceId"],
                        span["spanId"],
                        span.get("parentSpanId", ""),
                        _values(span),
                    )
                    for scope in resource["scopeSpans"]
                    for span in scope["spans"]
                ]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
    collector.grpc_url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        collector.http_url = f"http://127.0.0.1:{http.server_port}/v1/traces"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            http.shutdown()
            thread.join()
            server.stop(None).wait()


def _texts(attributes: Any) -> dict[str, str]:  # noqa: ANN401
    return {pair.key: pair.value.string_value or str(pair.value.int_value) for pair in attributes}


def _values(described: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: str(next(iter(pair["value"].values()))) for pair in described.get("attributes", [])}
