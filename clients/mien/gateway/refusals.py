"""Errors as HTTP answers: always ``{"error": "…"}``, always with the status that fits."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mien.errors import (
    DeadlineExceededError,
    DetectorError,
    InferenceError,
    MediaError,
    MediaTooLargeError,
    MienError,
    ModelNotFoundError,
    ServerOverloadedError,
    ServerUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

logger = logging.getLogger(__name__)

RETRY_SOON = {"Retry-After": "1"}

UNEXPECTED = "The gateway failed unexpectedly; the request id finds the reason in its log."


class RequestRefusedError(MienError):
    """A request that the gateway itself does not answer.

    Args:
        status: of HTTP.
        reason: a sentence for the caller.
        headers: to send along.
    """

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = dict(headers or {})


_STATUSES: tuple[tuple[type[MienError], HTTPStatus], ...] = (
    (MediaTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (MediaError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DetectorError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ServerUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ServerOverloadedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ModelNotFoundError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DeadlineExceededError, HTTPStatus.GATEWAY_TIMEOUT),
    (InferenceError, HTTPStatus.BAD_GATEWAY),
)

# What stands behind the gateway is its operator's business: callers get these, the log gets the error.
_REASONS = {
    HTTPStatus.SERVICE_UNAVAILABLE: "The model server cannot answer now; try again in a moment.",
    HTTPStatus.GATEWAY_TIMEOUT: "The model server did not answer in time; try again in a moment.",
    HTTPStatus.BAD_GATEWAY: "The model server gave no usable answer.",
    HTTPStatus.INTERNAL_SERVER_ERROR: UNEXPECTED,
}


def as_refused(error: MienError) -> RequestRefusedError:
    """The refusal that tells `error` to a caller."""
    if isinstance(error, RequestRefusedError):
        return error
    kinds = (status for kind, status in _STATUSES if isinstance(error, kind))
    status = next(kinds, HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = RETRY_SOON if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return RequestRefusedError(status, _REASONS.get(status, str(error)), headers)


def overloaded(*, is_body_read: bool = True) -> RequestRefusedError:
    """The refusal of one request too many; if its body is not read, the connection is of no more use."""
    return RequestRefusedError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The gateway has too much to do; try again in a moment.",
        RETRY_SOON if is_body_read else RETRY_SOON | {"Connection": "close"},
    )


def answer(status: int, reason: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as every caller of the gateway gets it."""
    return JSONResponse({"error": reason}, status, headers)


def install(app: FastAPI) -> None:
    """Make `app` tell its errors this way."""
    app.add_exception_handler(MienError, _answer_mien_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)


def _answer_mien_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, MienError):  # pragma: no cover (Starlette calls it for nothing else)
        raise error
    refusal = as_refused(error)
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("refused", extra={"status": int(refusal.status), "reason": str(error)})
    return answer(refusal.status, str(refusal), refusal.headers)


def _answer_validation_error(_request: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    sentences = [f"{'.'.join(map(str, part['loc']))}: {part['msg']}." for part in problems]
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, " ".join(sentences))


def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):  # pragma: no cover (Starlette calls it for nothing else)
        raise error
    reasons = {
        HTTPStatus.NOT_FOUND: f"There is no {request.url.path} here; /openapi.json lists what there is.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}.",
    }
    return answer(error.status_code, reasons.get(HTTPStatus(error.status_code), str(error.detail)), error.headers)
