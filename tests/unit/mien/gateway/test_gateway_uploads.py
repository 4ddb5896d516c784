from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from mien.gateway.refusals import RequestRefusedError
from mien.gateway.uploads import ENVELOPE_BYTES, read_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message

HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="frame_rate"\r\n\r\n2.5\r\n'
END = b"\r\n--b--\r\n"
LIMIT = 1000


def request_of(chunks: Sequence[bytes], headers: dict[str, str] | None = None, pause_s: float = 0.0) -> Request:
    """A request whose body comes in `chunks`; it counts in `request.state.read` what was read of it."""
    waiting = list(chunks)
    headers = {"content-type": "multipart/form-data; boundary=b"} | (headers or {})
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> Message:
        await asyncio.sleep(pause_s)
        body = waiting.pop(0) if waiting else b""
        request.state.read += len(body)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}, receive)
    request.state.read = 0
    return request


async def read(request: Request, timeout_s: float = 30) -> tuple[bytes, dict[str, str]]:
    with io.BytesIO() as file:
        fields = await read_form(request, "image", file, max_bytes=LIMIT, timeout_s=timeout_s)
        return file.read(), fields


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_a_file_arrives_in_any_pieces(size: int) -> None:
    content = bytes(range(256)) * 3
    body = FIELD + HEAD + content + END
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert await read(request_of(pieces)) == (content, {"frame_rate": "2.5"})


@pytest.mark.parametrize(
    "body", [[END], [FIELD, END], [HEAD, END], [HEAD, b"cut off"], [HEAD.replace(b"image", b"x"), END]]
)
async def test_a_form_without_the_file_says_so(body: list[bytes]) -> None:
    with pytest.raises(RequestRefusedError, match="No image uploaded") as caught:
        await read(request_of(body))
    assert caught.value.status == 400


async def test_two_files_are_one_too_many() -> None:
    with pytest.raises(RequestRefusedError, match="more than one image"):
        await read(request_of([HEAD, b"x\r\n", HEAD, b"y", END]))


@pytest.mark.parametrize("headers", [{}, {"content-length": "10"}, {"content-length": "nonsense"}])
async def test_too_much_is_not_read_whatever_was_declared(headers: dict[str, str]) -> None:
    request = request_of([HEAD, *[b"x" * 4096] * 10_000], headers)
    with pytest.raises(RequestRefusedError, match="larger than the limit of 1,000 bytes") as caught:
        await read(request)
    assert caught.value.status == 413
    assert request.state.read < 2 * ENVELOPE_BYTES + LIMIT


async def test_a_file_one_byte_too_large_is_refused_and_a_declared_one_before_it_is_read() -> None:
    assert await read(request_of([HEAD, b"x" * LIMIT, END])) == (b"x" * LIMIT, {})
    with pytest.raises(RequestRefusedError, match="larger"):
        await read(request_of([HEAD, b"x" * (LIMIT + 1), END]))
    request = request_of([HEAD], {"content-length": "100000000"})
    with pytest.raises(RequestRefusedError, match="larger"):
        await read(request)
    assert request.state.read == 0


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    with pytest.raises(RequestRefusedError) as caught:
        await read(request_of([HEAD, *[b"x"] * 100], pause_s=0.02), timeout_s=0.1)
    assert caught.value.status == 408


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300]
)
async def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        await read(request_of([HEAD, b"x", END], {"content-type": content_type}))
    assert caught.value.status == 400


async def test_parts_are_bounded() -> None:
    with pytest.raises(RequestRefusedError, match="more than 16 parts"):
        await read(request_of([FIELD] * 100 + [END]))


@given(
    st.lists(
        st.sampled_from([HEAD, FIELD, END, b"\r\n", b"--b", b"x", b"\0\xff", b"Content-"]) | st.binary(), max_size=12
    )
)
def test_any_body_is_a_form_or_a_refusal(chunks: list[bytes]) -> None:
    with suppress(RequestRefusedError):
        asyncio.run(read(request_of(chunks)))
