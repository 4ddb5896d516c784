from __future__ import annotations

import grpc
import pytest

from mien import errors
from mien.status import is_anothers_fault, translate

KINDS = {
    "CANCELLED": errors.InferenceError,
    "UNKNOWN": errors.InferenceError,
    "INVALID_ARGUMENT": errors.RequestRejectedError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
    "NOT_FOUND": errors.ModelNotFoundError,
    "ALREADY_EXISTS": errors.RequestRejectedError,
    "PERMISSION_DENIED": errors.AccessDeniedError,
    "UNAUTHENTICATED": errors.AccessDeniedError,
    "RESOURCE_EXHAUSTED": errors.ServerOverloadedError,
    "FAILED_PRECONDITION": errors.RequestRejectedError,
    "ABORTED": errors.ServerUnavailableError,
    "OUT_OF_RANGE": errors.RequestRejectedError,
    "UNIMPLEMENTED": errors.RequestRejectedError,
    "INTERNAL": errors.InferenceError,
    "UNAVAILABLE": errors.ServerUnavailableError,
    "DATA_LOSS": errors.InferenceError,
}


def failure(code: grpc.StatusCode, details: str) -> grpc.RpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def translated(code: grpc.StatusCode, details: str) -> errors.InferenceError:
    return translate(failure(code, details), endpoints=["triton:8001"], model="emotion", deadline_s=2.5)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_its_error_and_its_sentence(code: grpc.StatusCode) -> None:
    error = translated(code, "the server's own words")
    assert type(error) is KINDS[code.name]
    assert "triton:8001" in str(error)
    assert f"({code.name}: the server's own words)" in str(error)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        ("UNAVAILABLE", "[request id: 7] Exceeds maximum queue size", errors.ServerOverloadedError),
        ("UNAVAILABLE", "Request timeout expired", errors.ServerOverloadedError),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'admin'", errors.AccessDeniedError),
        ("INVALID_ARGUMENT", "Request for unknown model: 'emotion' version 9 is not found", errors.ModelNotFoundError),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (9 vs. 4)", errors.RequestRejectedError),
        ("UNKNOWN", "Stream removed", errors.ServerUnavailableError),
        ("UNAVAILABLE", "", errors.ServerUnavailableError),
    ],
)
def test_the_text_tells_apart_what_shares_a_status(code: str, details: str, kind: type[Exception]) -> None:
    assert type(translated(grpc.StatusCode[code], details)) is kind


@pytest.mark.parametrize(
    ("code", "details", "is_anothers"),
    [
        # As Triton 2.51 words it where another caller's request claimed a batch of 0.
        ("INTERNAL", "batch size 128 for 'emotion_preprocess', max allowed is 64", True),
        ("INTERNAL", "in ensemble 'emotion', batch size 66 for 'emotion_preprocess', max allowed is 64", True),
        ("INTERNAL", "Failed to process the request(s) for model instance 'emotion_preprocess_0_0'", False),
        ("INTERNAL", "", False),
        ("INVALID_ARGUMENT", "batch size 65 for 'emotion_preprocess', max allowed is 64", False),
    ],
)
def test_what_another_caller_did_is_told_by_the_text(code: str, details: str, is_anothers: bool) -> None:
    assert is_anothers_fault(failure(grpc.StatusCode[code], details)) is is_anothers
