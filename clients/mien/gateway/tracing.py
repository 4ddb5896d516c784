"""Traces of OpenTelemetry: a span around each request, and one for each part of its work.

Without `exporting`, or without a collector to export to, spans do nothing but pass a caller's W3C context on. No span
holds anything of a picture, nor of who sent it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from starlette.datastructures import Headers

from mien.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span
    from starlette.types import Scope

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The standard's environment variable; the exporter reads it, and others of the standard, by itself."""

SERVICE = "mien-gateway"

tracer = trace.get_tracer("mien.gateway")


@contextmanager
def exporting() -> Iterator[None]:
    """Send spans to the collector that the environment names, if it names one; at the end those still held too.

    Raises:
        SettingsError: it names one, and what sends spans is not installed.
    """
    if not os.environ.get(ENDPOINT):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"{ENDPOINT} is set, but sending traces needs the extra `tracing`: pip install 'mien[gateway,tracing]'."
        ) from error
    # What the environment says of the service counts before our name for it.
    resource = Resource.create().merge(Resource({"service.name": SERVICE})).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def request_span(scope: Scope) -> AbstractContextManager[Span]:
    """The span of a request, within its caller's trace if that sent one."""
    caller = propagate.extract(Headers(scope=scope))
    return tracer.start_as_current_span(scope["method"], caller, kind=SpanKind.SERVER, record_exception=False)


def end_request(span: Span, request_id: str, method: str, route: str, status: int) -> None:
    """Say what has become of a request.

    Args:
        span: of `request_span`.
        request_id: as in its answer.
        method: of HTTP.
        route: the template of its path.
        status: of HTTP; 0 if there was no answer.
    """
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "mien.request_id": request_id,
        }
    )
    if not status or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(StatusCode.ERROR)


def part_span(name: str) -> AbstractContextManager[Span]:
    """The span of a part of the current request's work."""
    return tracer.start_as_current_span(name, record_exception=False)
