"""Bodies of multipart/form-data, read piece by piece with a hard cap, whatever their headers say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from mien.gateway.refusals import RequestRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from python_multipart.multipart import Field, File
    from starlette.requests import Request

ENVELOPE_BYTES = 64 * 2**10
"""What boundaries, part headers and small fields may take beside the file."""

MAX_PARTS = 16
_IN_MEMORY = float("inf")


@dataclass(frozen=True, slots=True)
class Form:
    """A form's content.

    Attributes:
        file: of the field that was asked for; None if it was not sent. Its owner closes it.
        fields: the other fields, the last of each name.
    """

    file: File | None
    fields: dict[str, str]


@dataclass(slots=True)
class _Parts:
    """What the parser has found so far; everything in `files` is still open."""

    files: list[File] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)

    def close(self, *, but: File | None = None) -> None:
        for file in self.files:
            if file is not but:
                file.close()


async def read_form(
    request: Request, name: str, *, max_bytes: int, timeout_s: float, folder: Path | None = None
) -> Form:
    """Read the form of `request` and the file in its field `name`.

    Args:
        request: its body has not been read.
        name: of the field that holds the file.
        max_bytes: of the file.
        timeout_s: for the body to arrive.
        folder: where the file is kept until it is closed; by default in memory.

    Raises:
        RequestRefusedError: the body is no form (400), is too large (413) or takes too long (408).
    """
    _check_declared_length(request, max_bytes, name)
    parts = _Parts()
    parser = _parser(request, parts, folder)
    try:
        async with asyncio.timeout(timeout_s):
            await _feed(parser, request, max_bytes, name)
        parser.finalize()
    except (FormParserError, AssertionError) as error:  # the parser asserts that parts come in order
        parts.close()
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, f"The body is not a form that can be read: {error}."
        ) from error
    except TimeoutError as error:
        parts.close()
        raise RequestRefusedError(
            HTTPStatus.REQUEST_TIMEOUT, f"The {name} did not arrive within {timeout_s:g} s.", {"Connection": "close"}
        ) from error
    except BaseException:
        parts.close()
        raise
    file = next((file for file in parts.files if file.field_name == name.encode()), None)
    parts.close(but=file)
    if file is not None and file.size > max_bytes:
        file.close()
        raise _too_large(name, max_bytes)
    return Form(file, {_text(part.field_name): _text(part.value) for part in parts.fields})


def _parser(request: Request, parts: _Parts, folder: Path | None) -> FormParser:
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, "Send the file as a form: multipart/form-data with a boundary."
        )
    config = {
        "MAX_MEMORY_FILE_SIZE": _IN_MEMORY if folder is None else 0,
        "UPLOAD_DIR": None if folder is None else str(folder),
        "UPLOAD_ERROR_ON_BAD_CTE": True,
    }
    try:
        return FormParser(
            "multipart/form-data",
            on_field=lambda part: _keep(parts.fields, part, parts),
            on_file=lambda part: _keep(parts.files, part, parts),
            boundary=boundary,
            config=config,
        )
    except FormParserError as error:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, f"The body is not a form that can be read: {error}."
        ) from error


def _keep(kept: list[Field] | list[File], part: Field | File, parts: _Parts) -> None:
    kept.append(part)  # type: ignore[arg-type]
    if len(parts.files) + len(parts.fields) > MAX_PARTS:
        raise FormParserError(f"it has more than {MAX_PARTS} parts")


def _check_declared_length(request: Request, max_bytes: int, name: str) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes + ENVELOPE_BYTES:
        raise _too_large(name, max_bytes)


async def _feed(parser: FormParser, request: Request, max_bytes: int, name: str) -> None:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes + ENVELOPE_BYTES:
            raise _too_large(name, max_bytes)
        parser.write(chunk)


def _too_large(name: str, max_bytes: int) -> RequestRefusedError:
    # The rest of the body is not read, so the connection is of no more use.
    return RequestRefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The {name} is larger than the limit of {max_bytes:,} bytes.",
        {"Connection": "close"},
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
