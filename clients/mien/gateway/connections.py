"""HTTP connections as uvicorn serves them, with bounds on what comes beside a body, and in which time.

The application sees a request when its head is complete; before, nothing else bounds what a caller sends.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 64 * 2**10
"""Of a request's line and headers, or of the trailers after its body."""

HEAD_TIMEOUT_S = 20.0
"""For a request's head to arrive, counted from its connection or its first byte."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _beside_body = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; of a head that is awaited no more than it may have at once."""
        cut = MAX_HEAD_BYTES if self._timer else len(data)
        self._parse(data[:cut])
        if len(data) > cut and not self.transport.is_closing():
            self._parse(data[cut:])

    def _parse(self, data: bytes) -> None:
        """Parse, which sets the count back where a head is complete or a body goes on."""
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body >= MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The request's headers are larger than the limit of {MAX_HEAD_BYTES:,} bytes.",
            )

    def on_message_begin(self) -> None:
        """A request's first byte is there."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Its head is."""
        self._beside_body = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._beside_body = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as uvicorn asks for."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answer without the application, unless that is answering already, and close."""
        if self.cycle is None or self.cycle.response_complete:
            body = json.dumps({"error": sentence}).encode()
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
