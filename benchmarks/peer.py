"""Other servers of the same two graphs: started in environments of their own, called with the same faces.

Each is tried in the `ways` that its documentation offers (processes, threads, batches) and measured in the best one.
While others are measured its processes are stopped (SIGSTOP), so that none pays for another's idling.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Self

import grpc
import numpy as np
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.environments import CHECKOUT, environment, versions
from benchmarks.measure import throughput
from benchmarks.peers.arguments import free_port
from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

START_S = 120.0
STOP_S = 10.0
TRIAL_S = 1.5

Call = Callable[[], object]


class PeerError(MienError):
    """A peer does not start, or answers otherwise than ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Way:
    """Processes, threads of ONNX Runtime in each, and faces in a batch at most."""

    workers: int
    threads: int
    batch: int = 1

    def text(self) -> str:
        """Such as ``2 processes, 1 thread, batches of 16``."""
        parts = [_count(self.workers, "process", "es"), _count(self.threads, "thread", "s")]
        return ", ".join([*parts, *([f"batches of {self.batch}"] if self.batch > 1 else [])])


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number} {noun}{plural if number > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Peer:
    """What a user would pick instead.

    Attributes:
        name: as the table shows it.
        module: in `benchmarks.peers`, without ``_server``; also the name of its environment.
        packages: whose versions are told.
        ways: to run it.
        caller: makes the call of given faces to a port.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    ways: tuple[Way, ...]
    caller: Callable[[int, NDArray[np.uint8]], Call]


class RunningPeer:
    """A peer's processes; as a context manager it is ready inside and gone afterwards.

    Raises:
        PeerError: it does not answer, or wrongly.
    """

    def __init__(self, peer: Peer, way: Way, graphs: tuple[Path, Path], log: Path) -> None:
        self.peer = peer
        self.way = way
        self._folder = environment(peer.module)
        self._port = free_port()
        self._preprocess, self._classifier = graphs
        self._log = log

    def __enter__(self) -> Self:
        arguments = asdict(self.way) | {
            "port": self._port,
            "preprocess": self._preprocess,
            "classifier": self._classifier,
        }
        options = chain.from_iterable((f"--{name}", str(value)) for name, value in arguments.items())
        command = [str(self._folder / "bin/python"), "-m", f"benchmarks.peers.{self.peer.module}_server", *options]
        path = os.pathsep.join([str(self._folder / "bin"), os.environ["PATH"]])
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=os.environ | {"PATH": path, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def call(self, faces: NDArray[np.uint8]) -> Call:
        """What a caller does, again and again; threads may share it."""
        return self.peer.caller(self._port, faces)

    def versions(self) -> str:
        """Versions of its packages."""
        return versions(self._folder, *self.peer.packages)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Its processes run inside, and are stopped afterwards."""
        for process in self._processes():
            process.resume()
        try:
            yield
        finally:
            self.suspend()

    def suspend(self) -> None:
        """Stop its processes until `awake`."""
        for process in self._processes():
            process.suspend()

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess as error:
            raise PeerError(f"{self.peer.name} has ended: see {self._log}.") from error

    def _wait_ready(self) -> None:
        call = self.call(np.zeros((1, 96, 96, 3), np.uint8))
        end = time.monotonic() + START_S
        problem: Exception | None = None
        while time.monotonic() < end and self._process.poll() is None:
            try:
                call()
            except (OSError, http.client.HTTPException, grpc.RpcError, PeerError) as error:
                problem = error
                time.sleep(0.2)
            else:
                return
        tail = self._log.read_text(errors="replace")[-1500:]
        raise PeerError(f"{self.peer.name} ({self.way.text()}) does not answer: {problem}\n{tail}")

    def _stop(self) -> None:
        with contextlib.suppress(PeerError):
            processes = self._processes()
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, STOP_S)
        self._process.wait()


def best_way(peer: Peer, graphs: tuple[Path, Path], faces: NDArray[np.uint8], callers: int, log: Path) -> Way:
    """The way in which it answers most; one that cannot run is left out.

    Raises:
        PeerError: none can run.
    """
    rates: dict[Way, float] = {}
    problem: PeerError | None = None
    for way in peer.ways:
        try:
            with RunningPeer(peer, way, graphs, log) as running:
                call = running.call(faces)
                throughput(call, callers, TRIAL_S / 3)
                rates[way] = throughput(call, callers, TRIAL_S)
        except PeerError as error:
            problem = error
    if not rates:
        raise problem or PeerError(f"{peer.name} has no way to run.")
    return max(rates, key=lambda way: rates[way])


class HttpCaller:
    """Posts one body over a kept connection a thread, where the server keeps it."""

    def __init__(self, port: int, body: bytes, headers: dict[str, str]) -> None:
        self._port = port
        self._body = body
        self._headers = headers
        self._local = threading.local()

    def __call__(self) -> bytes:
        """Post; returns the answer's body."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        try:
            connection.request("POST", "/classify", self._body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if answer.status != http.HTTPStatus.OK:
            raise PeerError(f"The answer is {answer.status}: {content[:300]!r}")
        return content


def raw_bytes(port: int, faces: NDArray[np.uint8]) -> Call:
    """Raw bytes over HTTP."""
    return HttpCaller(port, faces.tobytes(), {"Content-Type": "application/octet-stream"})


def kserve(port: int, faces: NDArray[np.uint8]) -> Call:
    """The KServe protocol over gRPC with raw tensors; one channel for all threads."""
    message = service_pb2.ModelInferRequest(
        model_name="emotion",
        inputs=[service_pb2.ModelInferRequest.InferInputTensor(name="FACES", datatype="UINT8", shape=faces.shape)],
        raw_input_contents=[faces.tobytes()],
    )
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    return partial(stub.ModelInfer, message, timeout=60)


PEERS = (
    Peer(
        "FastAPI + ONNX Runtime",
        "fastapi",
        ("fastapi", "uvicorn", "onnxruntime"),
        (Way(1, 1), Way(1, 2), Way(2, 1)),
        raw_bytes,
    ),
    Peer("MLServer", "mlserver", ("mlserver", "onnxruntime"), (Way(1, 2), Way(1, 2, 16), Way(2, 1, 16)), kserve),
    Peer("LitServe", "litserve", ("litserve", "onnxruntime"), (Way(1, 2, 16), Way(2, 1), Way(2, 1, 16)), raw_bytes),
    Peer("BentoML", "bentoml", ("bentoml", "onnxruntime"), (Way(1, 1), Way(1, 2), Way(2, 1)), raw_bytes),
    Peer("Flask + Keras", "flask", ("flask", "keras", "tensorflow-cpu"), (Way(1, 1),), raw_bytes),
)
