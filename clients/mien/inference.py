"""Requests and answers of the KServe v2 protocol, without sending any: arrays in, messages out, and back."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.grpc import service_pb2

from mien import contract
from mien.errors import InferenceError, SettingsError, TensorError
from mien.results import Predictions

try:  # trace context travels along where the caller's service traces; the SDK itself needs none of it
    from opentelemetry import propagate
except ImportError:
    propagate = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CallContext:
    """What the requests of one call have in common.

    Attributes:
        request_id: for the logs of both sides.
        metadata: gRPC metadata: the request id and the W3C trace context of the caller's current span.
    """

    request_id: str
    metadata: Metadata

    @classmethod
    def create(cls, request_id: str | None = None) -> CallContext:
        """With the caller's id, or a new random one."""
        request_id = request_id or secrets.token_hex(16)
        if not request_id.isascii() or not request_id.isprintable():
            raise SettingsError(f"A request id goes into a header: printable ASCII only, not {request_id!r}.")
        carrier: dict[str, str] = {}
        if propagate is not None:
            propagate.inject(carrier)
        return cls(request_id, (("x-request-id", request_id), *carrier.items()))


def checked(items: NDArray[Any], spec: contract.TensorSpec) -> NDArray[Any]:
    """`items`, (N, *spec.shape), in C order, after holding them against the contract.

    Raises:
        TensorError: it is no array, its dtype or shape is another, or a number in it is not finite.
    """
    wanted = f"(N, {', '.join(map(str, spec.shape))}) {spec.dtype}"
    if not isinstance(items, np.ndarray):
        raise TensorError(f"{spec.name} must be an array {wanted}, not {type(items).__name__!r}.")
    if items.dtype != spec.dtype:
        raise TensorError(f"{spec.name} must be {wanted}, but its dtype is {items.dtype}.")
    if items.shape[1:] != spec.shape or not items.ndim:
        raise TensorError(f"{spec.name} must be {wanted}, but its shape is {items.shape}.")
    if items.dtype.kind == "f" and not np.isfinite(items).all():
        raise TensorError(f"{spec.name} holds numbers that are not finite (NaN or infinity).")
    return np.ascontiguousarray(items)


def infer_requests(
    items: NDArray[Any],
    context: CallContext,
    *,
    model: str,
    version: str,
    spec: contract.EnsembleSpec = contract.EMOTION,
) -> list[service_pb2.ModelInferRequest]:
    """One request for every `contract.MAX_BATCH_SIZE` items, in order; none for no item.

    Args:
        items: (N, *spec.input.shape), as `checked` gives them.
        context: of the call.
        model: to send them to.
        version: of it; empty for the one that is served.
        spec: the tensors and labels that `model` has.
    """
    return [
        _infer_request(items[start : start + contract.MAX_BATCH_SIZE], context.request_id, model, version, spec)
        for start in range(0, len(items), contract.MAX_BATCH_SIZE)
    ]


def _infer_request(
    batch: NDArray[Any], request_id: str, model: str, version: str, spec: contract.EnsembleSpec
) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(
        model_name=model,
        model_version=version,
        id=request_id,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=spec.input.name, datatype=spec.input.datatype, shape=batch.shape
            )
        ],
        outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=spec.output.name)],
        raw_input_contents=[batch.tobytes()],
    )


def address(requests: Sequence[service_pb2.ModelInferRequest], *, model: str, version: str = "") -> None:
    """Have requests that nobody waits for any more go to another model."""
    for request in requests:
        request.model_name = model
        request.model_version = version


def set_queue_timeout(request: service_pb2.ModelInferRequest, seconds: float) -> None:
    """Tell the server to drop the request from its queue once nobody waits for it any more.

    Triton heeds it for a single model; for an ensemble the queue's own limit in its configuration holds.
    """
    request.parameters["timeout"].int64_param = max(1, round(seconds * 1e6))


def predictions(
    answers: Sequence[service_pb2.ModelInferResponse],
    sizes: Sequence[int],
    context: CallContext,
    spec: contract.EnsembleSpec = contract.EMOTION,
) -> Predictions:
    """The answers to `infer_requests`, put together again.

    Raises:
        InferenceError: an answer does not fit the contract.
    """
    parts = [_probabilities(answer, size, spec.output) for answer, size in zip(answers, sizes, strict=True)]
    versions = [answer.model_version for answer, size in zip(answers, sizes, strict=True) for _ in range(size)]
    if len(parts) == 1:
        (rows,) = parts
    else:
        rows = np.concatenate([np.zeros((0, *spec.output.shape), np.float32), *parts])
    return Predictions(rows, spec.labels, tuple(versions), context.request_id)


def _probabilities(
    answer: Any,  # noqa: ANN401 (a generated message)
    size: int,
    spec: contract.TensorSpec,
) -> NDArray[np.float32]:
    shape = (size, *spec.shape)
    found = [(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in answer.outputs]
    if found != [(spec.name, spec.datatype, shape)] or len(answer.raw_output_contents) != 1:
        raise InferenceError(
            f"Model {answer.model_name!r} answered with {found} instead of {(spec.name, spec.datatype, shape)}: "
            "it keeps another contract than this client; call a model of this contract or update the client."
        )
    content = answer.raw_output_contents[0]
    if len(content) != math.prod(shape) * spec.dtype.itemsize:
        raise InferenceError(
            f"Model {answer.model_name!r} answered {len(content)} bytes for a tensor of shape {shape}."
        )
    rows = np.frombuffer(content, "<f4").reshape(shape)
    if not np.isfinite(rows).all():
        raise InferenceError(f"Model {answer.model_name!r} answered with numbers that are not finite.")
    return rows.astype(np.float32)
