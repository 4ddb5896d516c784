"""What runs the server: the binary in nvidia-pytriton's wheel, or NVIDIA's container."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serving.errors import EngineError
from serving.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.settings import ServingSettings

BACKENDS = Path(__file__).resolve().parent / "backends"
ADMIN_KEY_NAME = "mien-admin-key"

_MINIMUM_GLIBC = (2, 35)
_CONTAINER = "Or set MIEN_ENGINE=docker to use NVIDIA's container."
_RESTRICTED_PROTOCOLS = ("model-repository", "shared-memory", "trace", "logging")


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One run of the server, the same for every engine.

    Attributes:
        repository: the folder it loads models from.
        models: names of the models it loads at the start.
        grpc_port: loopback port of inference and control.
        metrics_port: loopback port of Prometheus metrics.
        token: a name that no other run has; it begins the names of shared memory segments and is the container's name.
        admin_key: what a control call must show.
        exit_timeout_s: how long requests in flight may take to finish at a stop.
        config_set: name of the configurations to serve with; empty for the models' own.
        trace_url: where spans go; empty for nowhere.
    """

    repository: Path
    models: tuple[str, ...]
    grpc_port: int
    metrics_port: int
    token: str
    admin_key: str = field(repr=False)
    exit_timeout_s: int
    config_set: str = ""
    trace_url: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command that runs the server in the foreground, and the command that removes what it may leave."""

    command: list[str]
    environment: dict[str, str]
    cleanup: list[str]


class Engine(Protocol):
    """A way to run tritonserver.

    Attributes:
        runs_stubs: whether models run in stub processes that are children of the launched one.
    """

    runs_stubs: bool

    def check(self) -> None:
        """Raise EngineError, with the way out, if this machine cannot run it."""

    def launch(self, plan: ServerPlan) -> Launch:
        """Prepare a run and say how to start it."""


def create_engine(settings: ServingSettings) -> Engine:
    """The engine that the settings name."""
    if settings.engine == "docker":
        return DockerEngine(settings.docker_image, settings.docker_gpus)
    return WheelEngine(settings.triton_environment, settings.state / "backends")


def tritonserver_arguments(
    plan: ServerPlan, *, repository: str, address: str, grpc_port: int, metrics_port: int
) -> list[str]:
    """Command-line arguments of tritonserver, which every engine shares."""
    return [
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in plan.models),
        *([f"--model-config-name={plan.config_set}"] if plan.config_set else []),
        "--disable-auto-complete-config",
        "--strict-readiness=false",
        "--allow-http=false",
        f"--grpc-address={address}",
        f"--grpc-port={grpc_port}",
        f"--grpc-restricted-protocol={','.join(_RESTRICTED_PROTOCOLS)}:{ADMIN_KEY_NAME}={plan.admin_key}",
        # Spare request objects keep the memory of the largest request they held: eight of them kept gigabytes.
        "--grpc-infer-allocation-pool-size=1",
        f"--metrics-address={address}",
        f"--metrics-port={metrics_port}",
        f"--backend-config=python,shm-region-prefix-name={plan.token}-",
        f"--exit-timeout-secs={plan.exit_timeout_s}",
        *(trace_arguments(plan.trace_url) if plan.trace_url else []),
    ]


def trace_arguments(url: str) -> list[str]:
    """Arguments that make Triton send a span for each step of a call that is part of a trace.

    A call without a caller's context makes no trace (rate 0). One whose caller does not sample it makes one all the
    same, for Triton looks at the ids alone.
    """
    return [
        "--trace-config=mode=opentelemetry",
        f"--trace-config=opentelemetry,url={url}",
        "--trace-config=opentelemetry,resource=service.name=mien-triton",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=0",
    ]


class WheelEngine:
    """Runs the tritonserver binary in nvidia-pytriton's wheel, with Python-based backends put together from copies.

    Args:
        environment: the virtual environment that holds the wheel and the packages of the backends.
        backend_directory: where the backends are put together; written anew at every launch.
    """

    runs_stubs = True

    def __init__(self, environment: Path, backend_directory: Path) -> None:
        self._environment = environment.absolute()
        self._backend_directory = backend_directory.absolute()

    def check(self) -> None:
        """Raise EngineError if platform, C library, environment or a shared library does not fit."""
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise EngineError(
                f"The engine `wheel` runs on Linux x86-64; this is {sys.platform} {platform.machine()}. {_CONTAINER}"
            )
        libc, version = platform.libc_ver()
        if libc != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _MINIMUM_GLIBC:
            raise EngineError(
                f"The engine `wheel` needs glibc 2.35 or newer (Ubuntu 22.04, Debian 12); this machine has"
                f" {libc or 'another C library'} {version}. {_CONTAINER}"
            )
        if not self._tritonserver.is_file() or not self._stub.is_file():
            raise EngineError(
                f"{self._environment} holds no local Triton for its Python ({self._python_version or 'none'}). Run"
                f" `make install-serving` with Python 3.11 or 3.12. {_CONTAINER}"
            )
        if missing := self._missing_libraries():
            raise EngineError(
                f"The local Triton needs {', '.join(missing)}, which this machine lacks. For libpython, install your"
                f" system's package of it (Debian: libpython{self._python_version}). {_CONTAINER}"
            )

    def launch(self, plan: ServerPlan) -> Launch:
        """Put the backends together and give the command."""
        return self.command(
            tritonserver_arguments(
                plan,
                repository=str(plan.repository.absolute()),
                address=LOOPBACK,
                grpc_port=plan.grpc_port,
                metrics_port=plan.metrics_port,
            )
        )

    def command(self, arguments: Sequence[str]) -> Launch:
        """The same for arguments of the caller's own, which say nothing of backends."""
        self._assemble_backends()
        arguments = [*arguments, f"--backend-directory={self._backend_directory}"]
        variables = self._variables()
        if not self._has_cuda():
            # Shown no GPU, KIND_AUTO means the CPU, which is all this ONNX Runtime has.
            variables["CUDA_VISIBLE_DEVICES"] = ""
            arguments.append("--allow-gpu-metrics=false")
        return Launch([str(self._tritonserver), *arguments], variables, [])

    @property
    def _site_packages(self) -> Path:
        return next(iter(sorted((self._environment / "lib").glob("python3.*/site-packages"))), self._environment)

    @property
    def _distribution(self) -> Path:
        return self._site_packages / "pytriton" / "tritonserver"

    @property
    def _tritonserver(self) -> Path:
        return self._distribution / "bin" / "tritonserver"

    @property
    def _stub(self) -> Path:
        return self._distribution / "python_backend_stubs" / self._python_version / "triton_python_backend_stub"

    @property
    def _python_version(self) -> str:
        """Version of the environment's Python, such as ``3.11``; empty without one."""
        return (
            self._site_packages.parent.name.removeprefix("python") if self._site_packages != self._environment else ""
        )

    def _assemble_backends(self) -> None:
        # Copies, for Triton refuses a library path that leads out of the backend directory.
        shutil.rmtree(self._backend_directory, ignore_errors=True)
        shutil.copytree(BACKENDS, self._backend_directory, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(self._distribution / "backends" / "python", self._backend_directory / "python")
        shutil.copy2(self._stub, self._backend_directory / "python")

    def _variables(self) -> dict[str, str]:
        """The caller's environment without what would reach into the stub's Python."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MIEN_", "VIRTUAL_ENV"))
        }
        libraries = [self._site_packages / "nvidia_pytriton.libs", *self._python_library()]
        path = [str(self._environment / "bin"), *filter(None, [kept.get("PATH")])]
        return kept | {
            # The stub's Python finds its packages through the first python3 on the path.
            "PATH": os.pathsep.join(path),
            "LD_LIBRARY_PATH": os.pathsep.join([*map(str, libraries), *filter(None, [kept.get("LD_LIBRARY_PATH")])]),
            "PYTHONNOUSERSITE": "1",
        }

    def _has_cuda(self) -> bool:
        capi = self._site_packages / "onnxruntime" / "capi"
        return (capi / "libonnxruntime_providers_cuda.so").exists()

    def _python_library(self) -> list[Path]:
        """Folder of the libpython of the environment's base interpreter, where it has one of its own."""
        lines = (self._environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        home = next((line.partition("=")[2].strip() for line in lines if line.startswith("home")), "")
        folder = Path(home).parent / "lib"
        return [folder] if (folder / f"libpython{self._python_version}.so.1.0").exists() else []

    def _missing_libraries(self) -> list[str]:
        listing = subprocess.run(
            ["ldd", self._stub], env=self._variables(), capture_output=True, text=True, check=False
        )
        return [line.split()[0] for line in listing.stdout.splitlines() if line.endswith("not found")]


class DockerEngine:
    """Runs NVIDIA's container: the same repository, the same loopback ports.

    Args:
        image: an image of Triton, 26.07 or newer; its ONNX Runtime backend is native.
        gpus: what ``--gpus`` gets; empty for none.
    """

    runs_stubs = False

    def __init__(self, image: str, gpus: str) -> None:
        self._image = image
        self._gpus = gpus

    def check(self) -> None:
        """Raise EngineError if there is no docker command or its engine does not answer."""
        if shutil.which("docker") is None:
            raise EngineError(
                "The engine `docker` needs the docker command, and there is none on the path. Install Docker."
            )
        answer = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
        if answer.returncode:
            last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise EngineError(f"Docker does not answer ({last}). Start it, or see that you may use it.")

    def launch(self, plan: ServerPlan) -> Launch:
        """The command that runs the container in the foreground, and the one that removes it."""
        arguments = tritonserver_arguments(
            plan,
            repository="/models",
            address="0.0.0.0",  # noqa: S104 - inside the container, which publishes to loopback only
            grpc_port=8001,
            metrics_port=8002,
        )
        command = [
            *("docker", "run", "--rm", "--name", plan.token, "--shm-size=256m"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={os.getuid()}:{os.getgid()}"),
            *(["--gpus", self._gpus] if self._gpus else []),
            f"--publish={LOOPBACK}:{plan.grpc_port}:8001",
            f"--publish={LOOPBACK}:{plan.metrics_port}:8002",
            f"--volume={plan.repository.absolute()}:/models:ro",
            f"--volume={BACKENDS / 'tensorflow'}:/opt/tritonserver/backends/tensorflow:ro",
            *(self._image, "tritonserver", *arguments),
        ]
        return Launch(command, dict(os.environ), ["docker", "rm", "--force", plan.token])
