"""Replicas of Triton on this machine, as a cluster runs them: pods, the name they are found by, and callers.

No cluster runs here. What a kubelet, a headless service and a Deployment's controller do to a pod is done by this
module, in the order that k8s/PODS.md gives. What they do it with is real: the init container's command, the probe,
tritonserver in control mode `none`, DNS over UDP. Each pod has an address of its own, 127.1.0.N.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mien import ClientSettings, EmotionClient, MienError
from mien.contract import EMOTION
from serving import read_settings
from serving.engines import WheelEngine
from serving.kept_process import KeptProcess
from serving.settings import release_variable
from serving.stubs import living_stubs
from tests.crowd import Crowd
from tests.name_server import NAME, NameServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from mien.contract import EnsembleSpec

ROOT = Path(__file__).resolve().parent.parent
START_S = 120.0
POLL_S = 0.05
TURN_S = 0.1

# In the cluster 30 s, 10 s and 10 s: a test has not that time.
CONNECTION_AGE_S = 2.0
EXIT_TIMEOUT_S = 3
QUIET_S = 1.0
DRAIN_S = 30.0


class NotReadyError(Exception):
    """A pod does not get ready; the text ends with its logs."""


class Pod:
    """One replica: a folder filled by the sync, Triton on it, and the probe beside it."""

    def __init__(
        self, folder: Path, address: str, ports: tuple[int, ...], store: str, release: int, variable: str
    ) -> None:
        self.address = address
        self.release = release
        self._variable = variable
        self._folder = folder
        self._grpc_port, self._metrics_port, self._probe_port = ports
        self._store = store
        self._triton: KeptProcess | None = None
        self._probe: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The init container, the sidecar, the server; in this order."""
        self._folder.mkdir()
        self._run(
            "sync",
            **{
                "MIEN_RELEASE_STORE": self._store,
                self._variable: str(self.release),
                "MIEN_MODEL_REPOSITORY": str(self._folder / "models"),
            },
        )
        self._probe = self._begin_probe()
        launch = WheelEngine(read_settings().triton_environment, self._folder / "backends").command(self._arguments())
        self._triton = KeptProcess(
            {
                "command": launch.command,
                "environment": launch.environment,
                "log": str(self._folder / "triton.log"),
                "exit_timeout_s": EXIT_TIMEOUT_S + 2.0,
                "shared_memory_prefix": f"{self._token}-",
                "cleanup": launch.cleanup,
            }
        )

    def ask(self, path: str, timeout_s: float = 5.0) -> tuple[int, str]:
        """What the probe answers: status and text; status 0 if it does not."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self._probe_port}{path}", timeout=timeout_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_ready(self) -> None:
        """As the startup probe does; a pod that answers its golden faces wrongly is given up at once, to save time."""
        end = time.monotonic() + START_S
        while (answer := self.ask("/ready"))[0] != 200:
            if time.monotonic() > end or not self.triton.is_alive or "canary failed" in answer[1]:
                raise NotReadyError(f"{self.address} is not ready: {answer}\n{self.log}")
            time.sleep(POLL_S)

    def drain(self) -> None:
        """The preStop hook."""
        assert self.ask("/drain", DRAIN_S + 5)[0] == 200

    def terminate(self) -> None:
        """SIGTERM to the server and then to the sidecar, as a kubelet after the preStop hook."""
        self.triton.stop()
        self._end_probe()

    def kill(self) -> None:
        """SIGKILL to the server, without a warning."""
        os.kill(self.triton.process_id, signal.SIGKILL)

    def freeze(self) -> None:
        """Have the server take connections and calls and answer none, as one behind a network that swallows all."""
        os.kill(self.triton.process_id, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on where it was."""
        os.kill(self.triton.process_id, signal.SIGCONT)

    @property
    def answered(self) -> int:
        """How many calls of the ensemble it has answered, by its own count."""
        with urllib.request.urlopen(f"http://{self.address}:{self._metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        wanted = f'nv_inference_request_success{{model="{EMOTION.name}"'
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith(wanted))

    @contextmanager
    def slowed(self, share: float) -> Iterator[None]:
        """Inside, have the server run for that share of the time, in turns of a tenth of a second."""
        stop = threading.Event()

        def take_turns() -> None:
            while not stop.wait(share * TURN_S):
                self.freeze()
                stop.wait((1 - share) * TURN_S)
                self.thaw()

        thread = threading.Thread(target=take_turns)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def kill_stubs(self) -> None:
        """Have the server live on with nothing left to run its models."""
        for stub in living_stubs(self.triton.process_id):
            os.kill(stub.process_id, signal.SIGKILL)

    def remove(self) -> None:
        """End what is left."""
        if self._triton:
            self._triton.stop()
        self._end_probe()

    @property
    def triton(self) -> KeptProcess:
        """The server, which has been started."""
        assert self._triton
        return self._triton

    @property
    def log(self) -> str:
        """What server and probe have written."""
        return "".join((self._folder / f"{name}.log").read_text() for name in ("triton", "probe"))

    @property
    def _token(self) -> str:
        return f"mien-{self.address}-{self._grpc_port}"

    def _arguments(self) -> list[str]:
        return [
            f"--model-repository={self._folder / 'models'}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            "--strict-readiness=false",
            "--allow-http=false",
            "--allow-gpu-metrics=false",
            f"--grpc-address={self.address}",
            f"--grpc-port={self._grpc_port}",
            f"--metrics-address={self.address}",
            f"--metrics-port={self._metrics_port}",
            f"--grpc-max-connection-age={CONNECTION_AGE_S * 1e3:.0f}",
            "--grpc-max-connection-age-grace=10000",
            f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
            f"--backend-config=python,shm-region-prefix-name={self._token}-",
        ]

    def _run(self, module: str, **variables: str) -> None:
        command = [sys.executable, "-m", f"serving.{module}"]
        completed = subprocess.run(
            command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stderr

    def _begin_probe(self) -> subprocess.Popen[bytes]:
        variables = {
            "MIEN_ENDPOINTS": f"{self.address}:{self._grpc_port}",
            "MIEN_MODEL_REPOSITORY": str(self._folder / "models"),
            "MIEN_PROBE_HOST": self.address,
            "MIEN_PROBE_PORT": str(self._probe_port),
            "MIEN_PROBE_QUIET_S": str(QUIET_S),
            "MIEN_PROBE_DRAIN_S": str(DRAIN_S),
        }
        with (self._folder / "probe.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "serving.probe"], cwd=ROOT, env=os.environ | variables, stderr=log
            )

    def _end_probe(self) -> None:
        if self._probe:
            self._probe.terminate()
            assert self._probe.wait(10) == 0
            self._probe = None


class Cluster:
    """A Deployment of Triton behind a headless service, on this machine.

    Args:
        folder: for all that pods write.
        store: where releases come from.
        ensemble: whose releases pods are told; of the others they take what is current in the store.
    """

    def __init__(self, folder: Path, store: str, ensemble: EnsembleSpec = EMOTION) -> None:
        self.variable = release_variable(ensemble)
        self.pods: list[Pod] = []
        self.ending = 0
        self._folder = folder
        self._store = store
        self._started = 0
        self._ports = _free_ports(3)  # of gRPC, the metrics and the probe
        self._stack = ExitStack()
        self._names = NameServer()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._names)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def endpoint(self) -> str:
        """What MIEN_ENDPOINTS is set to."""
        return f"dns://127.0.0.1:{self._names.port}/{NAME}:{self._ports[0]}"

    def add_pod(self, release: int) -> Pod:
        """Start one, and have callers find it when it is ready."""
        self._started += 1
        folder, address = self._folder / f"pod-{self._started}", f"127.1.0.{self._started}"
        pod = Pod(folder, address, self._ports, self._store, release, self.variable)
        self._stack.callback(pod.remove)
        pod.start()
        try:
            pod.wait_ready()
        except NotReadyError:
            pod.remove()
            raise
        self.pods.append(pod)
        self._names.add(pod.address)
        return pod

    def end_pod(self, pod: Pod) -> None:
        """As a cluster ends one: callers no longer find it, it drains, it is told to stop."""
        self.ending += 1
        self.forget_pod(pod)
        pod.drain()
        pod.terminate()
        self.ending -= 1

    def forget_pod(self, pod: Pod) -> None:
        """What follows when one is gone, or no longer ready: callers no longer find it."""
        self._names.remove(pod.address)
        self.pods.remove(pod)

    def roll_out(self, release: int) -> None:
        """Replace every pod of another release: maxSurge 1, maxUnavailable 0."""
        for old in [pod for pod in self.pods if pod.release != release]:
            self.add_pod(release)
            self.end_pod(old)


@dataclass
class Load(Crowd):
    """Callers that ask without a pause, each with a client of its own, until the end of the block.

    Attributes:
        endpoint: where they ask.
        callers: how many.
        failures: what they were told instead of an answer.
        answers: the release that answered, in the order of the answers.
        waits_s: how long each call took, in the order of the answers.
        options: further settings of the clients.
        ensemble: whom they ask.
    """

    endpoint: str
    callers: int = 3
    failures: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    ensemble: EnsembleSpec = EMOTION

    def _tasks(self) -> Sequence[Callable[[], None]]:
        return [self._call] * self.callers

    def __enter__(self) -> Self:
        super().__enter__()
        self.wait_for_more()
        return self

    def wait_for_more(self, calls: int = 100) -> None:
        """Return when so many more have been answered."""
        wanted, end = len(self.answers) + calls, time.monotonic() + START_S
        while len(self.answers) < wanted and not self.failures and time.monotonic() < end:
            time.sleep(POLL_S)
        assert len(self.answers) >= wanted or self.failures, "callers get no answers"

    @property
    def releases(self) -> Counter[int]:
        """How many answers each release gave."""
        return Counter(self.answers)

    def _call(self) -> None:
        inputs = self.ensemble.input.zeros(2)
        settings = ClientSettings(**({"endpoints": (self.endpoint,), "deadline_s": 30} | self.options))
        with EmotionClient(settings) as client:
            ask = client.classify if self.ensemble is EMOTION else client.classify_speech
            while not self._stop.is_set():
                begin = time.monotonic()
                try:
                    (version,) = set(ask(inputs).model_versions)
                except MienError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                else:
                    self.answers.append(int(version))
                    self.waits_s.append(time.monotonic() - begin)


def _free_ports(count: int) -> tuple[int, ...]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return tuple(int(one.getsockname()[1]) for one in sockets)
