"""Bodies of multipart/form-data, read piece by piece with a hard cap, whatever their headers say."""

from __future__ import annotations

from http import HTTPStatus
from typing import IO, TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from mien.gateway.refusals import RequestRefusedError, overloaded
from mien.gateway.room import Place

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

ENVELOPE_BYTES = 64 * 2**10
"""What boundaries, part headers and small fields may take beside the file."""

MAX_PARTS = 16


async def read_form(
    request: Request, name: str, target: IO[bytes], *, max_bytes: int, timeout_s: float, place: Place | None = None
) -> dict[str, str]:
    """Read the form of `request`, and the file in its field `name` into `target`.

    Args:
        request: its body has not been read.
        name: of the field that holds the file.
        target: is left at its beginning.
        max_bytes: of the file.
        timeout_s: for the body to arrive.
        place: that the request has in a room, and may lose to another while the body arrives.

    Returns:
        The other fields; of those with the same name the last.

    Raises:
        RequestRefusedError: the body is no form or holds no such file (400), is too large (413), takes too long (408),
            or comes slowly and others need the place (503).
    """
    place = place or Place()
    reader = _FormReader(name, target, max_bytes)
    try:
        parser = MultipartParser(_boundary(request, name), reader.callbacks())
        async with place.arrival(timeout_s):
            await _feed(parser, request, reader, place)
        parser.finalize()
    except FormParserError as error:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, f"The body is not a form that can be read: {error}."
        ) from error
    except TimeoutError as error:
        if place.is_lost:
            raise overloaded(is_body_read=False) from error
        raise RequestRefusedError(
            HTTPStatus.REQUEST_TIMEOUT, f"The {name} did not arrive within {timeout_s:g} s.", {"Connection": "close"}
        ) from error
    if not reader.has_file:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"No {name} uploaded")
    target.seek(0)
    return reader.fields


def _boundary(request: Request, name: str) -> bytes:
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, f"No {name} uploaded: send it as a form, multipart/form-data with a boundary."
        )
    return boundary


async def _feed(parser: MultipartParser, request: Request, reader: _FormReader, place: Place) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        reader.check_size(int(declared) - ENVELOPE_BYTES)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        place.count(len(chunk))
        reader.check_size(received - ENVELOPE_BYTES)
        parser.write(chunk)


class _FormReader:
    """Takes what the parser finds: one file into a target, small fields into memory, nothing else.

    Args:
        name: of the file's field.
        target: where the file goes.
        max_bytes: of the file.
    """

    def __init__(self, name: str, target: IO[bytes], max_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self.has_file = False
        self._name = name
        self._target = target
        self._max_bytes = max_bytes
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._field = ""
        self._is_file = False
        self._size = 0
        self._text = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_header,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
        }

    def check_size(self, size: int) -> None:
        """Hold the size of the file, or the least that it can have, against the limit."""
        if size > self._max_bytes:
            # The rest of the body is not read, so the connection is of no more use.
            raise RequestRefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The {self._name} is larger than the limit of {self._max_bytes:,} bytes.",
                {"Connection": "close"},
            )

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise FormParserError(f"it has more than {MAX_PARTS} parts")
        self._disposition = b""
        self._text.clear()

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise FormParserError("a part has no name")
        self._field = options[b"name"].decode("utf-8", "replace")
        self._is_file = self._field == self._name and b"filename" in options
        if self._is_file and self.has_file:
            raise FormParserError(f"it has more than one {self._name}")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._size += end - start
            self.check_size(self._size)
            self._target.write(data[start:end])
        elif len(self._text) < ENVELOPE_BYTES:
            self._text += data[start:end]

    def _end_part(self) -> None:
        if self._is_file:
            self.has_file = self._size > 0
        else:
            self.fields[self._field] = self._text.decode("utf-8", "replace")
