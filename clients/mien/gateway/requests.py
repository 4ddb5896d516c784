"""What surrounds every request: id, span, safe headers, a log line, the metrics, and a last answer if all fails."""

from __future__ import annotations

import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders

from mien.gateway import refusals, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mien.gateway.measurements import GatewayMetrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Unless a route sets its own."""

VERSION_PREFIX = "/v1"
"""Of the paths that stay as they are; the reference's own paths stand beside them without it."""

UNMATCHED = "unmatched"

HSTS = "max-age=31536000"


class RequestScope:
    """ASGI middleware around the whole application.

    The request id is the caller's ``X-Request-ID`` if it is short and plain, otherwise a new one; it is in
    ``request.state.request_id``, in the answer, and in every line that is logged meanwhile.

    Args:
        app: what answers.
        metrics: count the requests.
        uses_tls: tell browsers to stay with HTTPS.
    """

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics, *, uses_tls: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = SAFE_HEADERS | ({"Strict-Transport-Security": HSTS} if uses_tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        with (
            tracing.request_span(scope) as span,
            structlog.contextvars.bound_contextvars(request_id=request_id),
            self._metrics.in_flight.track_inprogress(),
        ):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:
                logger.exception("failed")
                if status:
                    raise
                last = refusals.answer(HTTPStatus.INTERNAL_SERVER_ERROR, refusals.UNEXPECTED)
                await last(scope, receive, send_with_headers)
            finally:
                self._note(scope, span, status, time.perf_counter() - started)

    def _note(self, scope: Scope, span: Span, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if route != UNMATCHED else "any"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        tracing.end_request(span, scope["state"]["request_id"], method, route, status)
        key = scope["state"].get("key")
        fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4), "key": key}
        logger.info("answered", extra=fields)


def _route(scope: Scope) -> str:
    """The template of the path: a label for each path that somebody tries would fill the memory."""
    route: str | None = getattr(scope.get("route"), "path", None)
    if route is None:
        return UNMATCHED
    # FastAPI's routers may tell their routes without the prefix that they were included with.
    is_bare = scope["path"].startswith(f"{VERSION_PREFIX}/") and not route.startswith(VERSION_PREFIX)
    return VERSION_PREFIX + route if is_bare else route


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _USABLE_ID.fullmatch(given) else secrets.token_hex(16)
