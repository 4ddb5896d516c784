"""The one boundary where gRPC's errors become Mien's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from mien.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    InferenceError,
    ModelNotFoundError,
    RequestRejectedError,
    ServerOverloadedError,
    ServerUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_CODE: dict[grpc.StatusCode, tuple[type[InferenceError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        ServerUnavailableError,
        "No Triton server answers at {endpoints}; check that it runs and that the endpoint is its gRPC port",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        DeadlineExceededError,
        "{endpoints} did not answer within {deadline_s:g} s; allow more time (deadline_s) or look at the server's load",
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        ServerOverloadedError,
        "{endpoints} has too much to do; send less at once or try again later",
    ),
    grpc.StatusCode.NOT_FOUND: (
        ModelNotFoundError,
        "{endpoints} does not serve model {model!r}; `mien models` lists what it serves",
    ),
    grpc.StatusCode.INVALID_ARGUMENT: (RequestRejectedError, "{endpoints} found the request wrong"),
    grpc.StatusCode.OUT_OF_RANGE: (RequestRejectedError, "{endpoints} found a value of the request out of range"),
    grpc.StatusCode.FAILED_PRECONDITION: (RequestRejectedError, "{endpoints} is not in a state to answer that request"),
    grpc.StatusCode.ALREADY_EXISTS: (RequestRejectedError, "{endpoints} found the request in conflict with another"),
    grpc.StatusCode.UNIMPLEMENTED: (
        RequestRejectedError,
        "{endpoints} does not know that call; check that it is Triton's gRPC port and not another service",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        AccessDeniedError,
        "{endpoints} does not permit the call; ask its operator for a certificate or a right to it",
    ),
    grpc.StatusCode.UNAUTHENTICATED: (
        AccessDeniedError,
        "{endpoints} does not know who is calling; give a client certificate (tls_client_cert, tls_client_key)",
    ),
    grpc.StatusCode.ABORTED: (ServerUnavailableError, "{endpoints} broke the call off; try again"),
    grpc.StatusCode.CANCELLED: (InferenceError, "The call to {endpoints} was cancelled"),
    grpc.StatusCode.INTERNAL: (InferenceError, "{endpoints} failed inside; its log says more"),
    grpc.StatusCode.UNKNOWN: (InferenceError, "{endpoints} failed for an unknown reason; its log says more"),
    grpc.StatusCode.DATA_LOSS: (InferenceError, "{endpoints} lost or damaged data; its log says more"),
}

_BY_TEXT: dict[str, grpc.StatusCode] = {
    # Triton's texts for a full queue and for a request that waited too long in it; both come as UNAVAILABLE.
    "exceeds maximum queue size": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "request timeout expired": grpc.StatusCode.RESOURCE_EXHAUSTED,
    # What it says to a caller without the key of a restricted protocol, also as UNAVAILABLE.
    "protocol is restricted": grpc.StatusCode.PERMISSION_DENIED,
    "request for unknown model": grpc.StatusCode.NOT_FOUND,
    # gRPC's own text on either side, as RESOURCE_EXHAUSTED.
    "message larger than max": grpc.StatusCode.OUT_OF_RANGE,
    # A connection that broke in the middle of a call.
    "stream removed": grpc.StatusCode.UNAVAILABLE,
}


_ANOTHERS = "max allowed is"
"""The text of Triton's Python backend, as INTERNAL, for a batch larger than its model takes. Triton puts batches
together itself, of requests that it found small enough one by one; but one that claims a batch of 0, or of a multiple
of 2^32, is counted as 0 and fails all with which it shares a batch (seen in 2.51)."""


def is_anothers_fault(error: grpc.RpcError) -> bool:
    """Whether a request of at most `contract.MAX_BATCH_SIZE` failed by what another caller sent, so may go again."""
    return error.code() is grpc.StatusCode.INTERNAL and _ANOTHERS in (error.details() or "")


def is_unreachable(error: grpc.RpcError) -> bool:
    """Whether nobody may have been there to answer."""
    return _meant(error) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def translate(
    error: grpc.RpcError, *, endpoints: Sequence[str], model: str, deadline_s: float, refusal: str | None = None
) -> InferenceError:
    """Mien's error for a gRPC one; the caller raises it ``from`` the original.

    Args:
        error: as raised by a call of `grpc` or `grpc.aio`.
        endpoints: whom the call went to.
        model: which model it was about.
        deadline_s: seconds that it had.
        refusal: why no connection came about, where that is known.
    """
    kind, sentence = _BY_CODE.get(_meant(error), _BY_CODE[grpc.StatusCode.UNKNOWN])
    explained = sentence.format(endpoints=", ".join(endpoints), model=model, deadline_s=deadline_s)
    if refusal is not None:
        kind, explained = ServerUnavailableError, refusal
    return kind(f"{explained}. ({error.code().name}: {_details(error) or 'no details'})")


def _meant(error: grpc.RpcError) -> grpc.StatusCode:
    code: grpc.StatusCode = error.code()
    details = _details(error).lower()
    for text, meant in _BY_TEXT.items():
        if text in details:
            code = meant
    return code


def _details(error: grpc.RpcError) -> str:
    return (error.details() or "").strip()
