"""Clients as bad networks and bad programs make them, in a process of its own: it ends with SIGTERM.

    python -m tests.faults.bad_clients 127.0.0.1:8001 127.0.0.1:8080

Of each of Triton's gRPC port and the gateway: some connect and say nothing, some say half of what they would and then
nothing, some send a byte now and then, some leave before they are answered, some allow no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from mien import AsyncEmotionClient, ClientSettings, MienError
from mien.contract import EMOTION
from tests.faults.pictures import PICTURE

SILENT = 40
HALF_SAID = 20
SLOW = 20
SLOW_EVERY_S = 0.5
LEAVES_EVERY_S = 0.2
TIMEOUT_S = 0.001
RETRY_S = 1.0

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=b\r\n"
FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(FORM) + FORM
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def hold(address: str, said: bytes) -> None:
    """Say this and no more; connect again when thrown out."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
            writer.write(said)
            await reader.read()
            writer.close()
        await asyncio.sleep(RETRY_S)


async def drip(address: str) -> None:
    """Send a picture a byte at a time."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*address.rsplit(":", 1))
            writer.write(REQUEST[:-2000])
            for place in range(len(REQUEST) - 2000, len(REQUEST)):
                writer.write(REQUEST[place : place + 1])
                await writer.drain()
                await asyncio.sleep(SLOW_EVERY_S)
            writer.close()


async def leave(address: str) -> None:
    """Send all of a picture and do not wait for the answer."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*address.rsplit(":", 1))
            writer.write(REQUEST)
            await writer.drain()
            writer.close()
        await asyncio.sleep(LEAVES_EVERY_S)


async def leave_grpc(client: AsyncEmotionClient) -> None:
    """Cancel each call when it is on its way."""
    faces = EMOTION.input.zeros(4)
    while True:
        call = asyncio.create_task(client.classify(faces))
        await asyncio.sleep(TIMEOUT_S)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError, MienError):
            await call
        await asyncio.sleep(LEAVES_EVERY_S)


async def allow_no_time(client: AsyncEmotionClient) -> None:
    """Give each call a deadline that it cannot keep."""
    faces = EMOTION.input.zeros(4)
    while True:
        with contextlib.suppress(MienError):
            await client.classify(faces, deadline_s=TIMEOUT_S)
        await asyncio.sleep(LEAVES_EVERY_S)


async def main(grpc: str, http: str) -> None:
    """All of them, until the process is ended."""
    async with AsyncEmotionClient(ClientSettings(endpoints=grpc)) as client:
        await asyncio.gather(
            *(hold(http, b"") for _ in range(SILENT)),
            *(hold(http, HEAD) for _ in range(HALF_SAID)),
            *(drip(http) for _ in range(SLOW)),
            leave(http),
            *(hold(grpc, b"") for _ in range(SILENT)),
            *(hold(grpc, HTTP2_PREFACE) for _ in range(HALF_SAID)),
            leave_grpc(client),
            allow_no_time(client),
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
