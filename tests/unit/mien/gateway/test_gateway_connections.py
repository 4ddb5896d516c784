"""Callers that speak HTTP badly, over real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from mien.gateway import connections
from mien.gateway.command import server_config
from mien.gateway.connections import MAX_HEAD_BYTES
from mien.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

ENOUGH_S = 30.0


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes in the body."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"%8d" % size})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server such as the gateway's."""
    server = uvicorn.Server(server_config(echo, GatewaySettings(port=0)))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(ENOUGH_S):
            while not server.started:  # noqa: ASYNC110 (uvicorn tells it no other way)
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            yield reader, writer
            writer.close()
    finally:
        server.should_exit = True
        await serving


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an answer after which the connection is closed."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


HEADERS = {
    "one": b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "many": b"A: 1\r\n" * 11_000 + b"\r\n",
    "endless": b"A: " + b"a" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_headers_that_are_too_large_are_refused(headers: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers)
        status, body = await answer(reader)
    assert status == 431
    assert "larger than the limit" in json.loads(body)["error"]


async def test_what_is_no_http_is_refused_like_anything_else() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GARBAGE\r\n\r\n")
        status, body = await answer(reader)
    assert status == 400
    assert list(json.loads(body)) == ["error"]


async def test_endless_trailers_end_the_connection() -> None:
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n")
        writer.write(b"A: 1\r\n" * 30_000)
        assert await reader.read() == b""


async def test_a_large_body_in_many_pieces_is_taken() -> None:
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for _ in range(2000):
            writer.write(b"200\r\n" + b"a" * 512 + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status, body = await answer(reader)
    assert (status, int(body)) == (200, 2000 * 512)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.2)
    async with connected() as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""
