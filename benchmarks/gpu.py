"""What serving costs on a GPU: batches of the classifier at the server beside ONNX Runtime's CUDA provider in process.

    MIEN_ENGINE=docker MIEN_DOCKER_GPUS=all python -m benchmarks.gpu --rounds 5 --seconds 3

Both take full batches of 64 faces' pixels, the server from several callers at once, in process from one: the GPU does
one thing at a time, and more callers only queue. Both sides pay for the copies to the GPU and back.

Needs an NVIDIA GPU, onnxruntime-gpu in this environment (in place of onnxruntime), and a server that sees the GPU:
NVIDIA's container, or the wheel with onnxruntime-gpu in `.venv-triton`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.machine import machine
from benchmarks.measure import Rounds, Spread, throughput
from benchmarks.serving import graphs
from mien.contract import EMOTION_CLASSIFIER, MAX_BATCH_SIZE
from mien.errors import MienError
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALLERS = 4
CUDA = "CUDAExecutionProvider"


class GpuMissingError(MienError):
    """Nothing to measure: no GPU, or a runtime that cannot use it."""


def cuda_session(graph: Path) -> onnxruntime.InferenceSession:
    """The classifier on the GPU, in this process.

    Raises:
        GpuMissingError: ONNX Runtime has no CUDA provider, or cannot start it.
    """
    if CUDA not in onnxruntime.get_available_providers():
        raise GpuMissingError(
            f"ONNX Runtime {onnxruntime.__version__} has no {CUDA} here: install onnxruntime-gpu in its place."
        )
    session = onnxruntime.InferenceSession(graph, providers=[CUDA, "CPUExecutionProvider"])
    if CUDA not in session.get_providers():
        raise GpuMissingError(f"{CUDA} does not start on this machine; ONNX Runtime has said why on stderr.")
    return session


class ServedClassifier:
    """The classifier at the server, asked directly with pixels: what the ensemble adds is not the question here."""

    def __init__(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, pixels: NDArray[np.float32]) -> None:
        spec = EMOTION_CLASSIFIER
        tensor = service_pb2.ModelInferRequest.InferInputTensor(
            name=spec.input.name, datatype=spec.input.datatype, shape=pixels.shape
        )
        self._request = service_pb2.ModelInferRequest(
            model_name=spec.name, inputs=[tensor], raw_input_contents=[pixels.tobytes()]
        )
        self._stub = stub

    def __call__(self) -> NDArray[np.float32]:
        """(N, 7) probabilities."""
        answer = self._stub.ModelInfer(self._request, timeout=60)
        return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(-1, *EMOTION_CLASSIFIER.output.shape)


def compare(endpoint: str, graph: Path, rounds: int, seconds: float) -> Rounds:
    """Measure both in turn.

    Raises:
        GpuMissingError: see `cuda_session`; or the two disagree, so that they do not run the same model.
    """
    spec, figures, session = EMOTION_CLASSIFIER, Rounds(), cuda_session(graph)
    pixels = np.random.default_rng(0).uniform(0, 255, (MAX_BATCH_SIZE, *spec.input.shape)).astype(np.float32)
    in_process = partial(session.run, [spec.output.name], {spec.input.name: pixels})
    with closing(grpc.insecure_channel(endpoint)) as channel:
        served = ServedClassifier(service_pb2_grpc.GRPCInferenceServiceStub(channel), pixels)
        if not np.allclose(served(), in_process()[0], atol=1e-3):
            raise GpuMissingError("Server and ONNX Runtime answer differently: do they have the same release?")
        for _ in range(rounds):
            direct = figures.add("in process, faces/s", MAX_BATCH_SIZE * throughput(in_process, 1, seconds))
            server = figures.add("server, faces/s", MAX_BATCH_SIZE * throughput(served, CALLERS, seconds))
            figures.add("server / in process", server / direct)
    return figures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder)
            settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
            _, classifier = graphs(settings.shipped_repository)
            cuda_session(classifier)  # before a server is started for nothing
            with TritonServer(settings) as server:
                figures = compare(server.endpoint, classifier, options.rounds, options.seconds)
    except MienError as error:
        sys.exit(f"Error: {error}")
    facts = machine()
    print(f"{facts['date']} · {facts['machine']}\n{facts['software']}")
    for name, values in figures.values.items():
        print(f"{name:22} {Spread.of(values).text()}")


if __name__ == "__main__":
    main()
