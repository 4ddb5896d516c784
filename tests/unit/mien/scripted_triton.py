"""A scripted server: real gRPC on a real port, answers by the script.

A real Triton cannot be made to answer each status of gRPC, to fail exactly twice, or to break off in the middle. Tests
of what needs only right answers use one, in `tests/integration`.
"""

from __future__ import annotations

from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from mien import contract
from mien.faces import Box, Face

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class ScriptedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers inference by the first pixel: face k gets label k modulo 7 with probability 1; speech by its loudest
    sample: k / 10 gets label k.

    The model `emotion_candidate` is release 4 and gives every face whose first pixel is 0 another label.

    Attributes:
        script: called with each request and its context before the answer; it may abort or wait.
        answer: gives another answer than by the first pixel; None for that one.
        requests: all that came, with their metadata.
    """

    def __init__(self) -> None:
        self.script: Callable[[Any, grpc.ServicerContext], None] = lambda request, context: None
        self.answer: Callable[[Any], service_pb2.ModelInferResponse] | None = None
        self.version = "3"
        self.requests: list[tuple[Any, dict[str, str]]] = []
        self.endpoint = ""

    def ModelInfer(  # noqa: N802 (the service's name for it)
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        metadata = {pair.key: pair.value for pair in context.invocation_metadata()}
        self.requests.append((request, metadata))
        self.script(request, context)
        if self.answer is not None:
            return self.answer(request)
        shape = tuple(request.inputs[0].shape)
        rows = np.zeros((shape[0], 7), np.float32)
        if request.inputs[0].name == contract.AUDIO.name:
            sound = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(shape)
            labels = np.rint(10 * sound.max(axis=1)).astype(int) % 7
        else:
            faces = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
            labels = faces[:, 0, 0, 0] % 7
        if request.model_name == contract.EMOTION.candidate.name:
            rows[np.arange(shape[0]), np.where(labels == 0, 1, labels)] = 1
            return infer_response(rows, "4")
        rows[np.arange(shape[0]), labels] = 1
        return infer_response(rows, self.version)


def infer_response(rows: NDArray[Any], version: str = "3") -> service_pb2.ModelInferResponse:
    spec = contract.EMOTION.output
    output = service_pb2.ModelInferResponse.InferOutputTensor(name=spec.name, datatype=spec.datatype, shape=rows.shape)
    return service_pb2.ModelInferResponse(
        model_name="emotion", model_version=version, outputs=[output], raw_output_contents=[rows.tobytes()]
    )


def abort(code: grpc.StatusCode, details: str = "as the script says") -> Callable[[Any, grpc.ServicerContext], None]:
    return lambda request, context: context.abort(code, details)


@dataclass
class Servers:
    """Starts scripted servers; they are stopped after the test."""

    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0") -> ScriptedTriton:
        scripted = ScriptedTriton()
        server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(scripted, server)
        port = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
        server.start()
        self.stack.callback(lambda: server.stop(None).wait())
        scripted.endpoint = f"127.0.0.1:{port}"
        return scripted


def numbered_faces(count: int) -> NDArray[np.uint8]:
    """(count, 96, 96, 3): face k is filled with k modulo 7."""
    faces = np.zeros((count, 96, 96, 3), np.uint8)
    faces[:] = (np.arange(count) % 7).astype(np.uint8)[:, None, None, None]
    return faces


class OneFaceDetector:
    """Finds one face, as large as the picture: a real detector would need a photograph in every test."""

    name = "one"

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        height, width = picture.shape[:2]
        return [Face(Box(0, 0, width, height), 0.9)]
