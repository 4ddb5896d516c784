"""Where and how the local server runs, read from the environment once."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, InstanceOf, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mien.contract import EMOTION, ENSEMBLES, EnsembleSpec, ensemble_named
from mien.errors import SettingsError

LOOPBACK = "127.0.0.1"
"""The only address the local server listens on; a cluster puts its own front before it."""

CHECKOUT = Path(__file__).resolve().parent.parent

Release = Literal["current"] | PositiveInt

EngineName = Literal["wheel", "docker"]


def _ensembles(value: object) -> object:
    """Names, as the environment gives them, as what they are names of."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ensemble_named(name.strip()) for name in value.split(","))
    except SettingsError as error:
        raise ValueError(str(error)) from error


Ensembles = Annotated[tuple[InstanceOf[EnsembleSpec], ...], NoDecode, BeforeValidator(_ensembles), Field(min_length=1)]

_Settings = TypeVar("_Settings", bound=BaseSettings)


def _default_engine() -> EngineName:
    """The wheel's binary where it runs, NVIDIA's container elsewhere."""
    return "wheel" if sys.platform == "linux" and platform.machine() == "x86_64" else "docker"


class ServingSettings(BaseSettings):
    """Settings of the local server; each comes from ``MIEN_<NAME>`` in the environment.

    Attributes:
        ensembles: what the server serves, by name and separated by commas; by default all that this version knows.
        state: folder of everything the server writes, created with mode 0700.
        model_repository: the working copy that the server loads from and that publishing writes.
        shipped_repository: where the working copy is made from.
        config_set: name of the configurations that models are served with, where they have one of that name
            (``configs/<name>.pbtxt``); empty for ``config.pbtxt``.
        release_store: where hosts share releases: a folder, ``file:///…`` or ``s3://bucket/prefix``; None for nowhere.
        release: which of them `serving.sync` fetches of the ensemble `emotion`: a number, or ``current`` for what the
            store says.
        release_speech_emotion: the same of `speech_emotion`.
        engine: ``wheel`` runs the binary in nvidia-pytriton's wheel, ``docker`` NVIDIA's container.
        triton_environment: the virtual environment of the wheel's binary.
        docker_image: image of the engine ``docker``.
        docker_gpus: what ``docker run --gpus`` gets; empty for none.
        grpc_port: port of inference and control; 0 takes a free one.
        metrics_port: port of Prometheus metrics; 0 takes a free one.
        trace_url: where the server sends OpenTelemetry's spans of calls that are part of a trace, over HTTP, such as
            ``http://127.0.0.1:4318/v1/traces``, as seen from the server; empty for nowhere.
        ready_timeout_s: how long a start may take until the first real answer.
        exit_timeout_s: how long requests in flight may take to finish at a stop.
        watch_interval_s: time between two looks at the server's processes.
        health_interval_s: time between two health inferences.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_", extra="ignore", frozen=True, protected_namespaces=())

    ensembles: Ensembles = ENSEMBLES
    state: Path = Path(".mien")
    model_repository: Path = Field(default_factory=lambda data: Path(data["state"]) / "model_repository")
    shipped_repository: Path = CHECKOUT / "model_repository"
    config_set: str = Field(default="", pattern=r"^[\w-]*$")
    release_store: str | None = None
    release: Release = "current"
    release_speech_emotion: Release = "current"
    engine: EngineName = Field(default_factory=_default_engine)
    triton_environment: Path = CHECKOUT / ".venv-triton"
    docker_image: str = "nvcr.io/nvidia/tritonserver:26.07-py3"
    docker_gpus: str = ""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    trace_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    ready_timeout_s: float = Field(default=120.0, gt=0)
    exit_timeout_s: int = Field(default=10, ge=1)
    watch_interval_s: float = Field(default=1.0, gt=0)
    health_interval_s: float = Field(default=5.0, gt=0)

    def release_of(self, ensemble: EnsembleSpec) -> Release:
        """Which release of an ensemble `serving.sync` fetches."""
        release: Release = getattr(self, _release_field(ensemble))
        return release

    @property
    def record_path(self) -> Path:
        """What is known of the running server; readable by its owner only, for it holds the admin key."""
        return self.state / "server.json"

    @property
    def log_path(self) -> Path:
        """Where the server's output goes."""
        return self.state / "logs" / "triton.log"

    def create_state(self) -> None:
        """Make the state folder, readable by its owner only.

        Raises:
            SettingsError: it cannot be made.
        """
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.log_path.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The state folder {self.state} cannot be made ({error.strerror}). Set MIEN_STATE to a folder that"
                " you may write."
            ) from error


def release_variable(ensemble: EnsembleSpec) -> str:
    """The environment variable that says which release of an ensemble is fetched."""
    return f"MIEN_{_release_field(ensemble).upper()}"


def _release_field(ensemble: EnsembleSpec) -> str:
    """The first ensemble's has the plain name."""
    return "release" if ensemble.name == EMOTION.name else f"release_{ensemble.name}"


def read_settings(**overrides: object) -> ServingSettings:
    """The settings from the environment, with `overrides` on top.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    return settings_from_environment(ServingSettings, **overrides)


def settings_from_environment(kind: type[_Settings], **overrides: object) -> _Settings:
    """Settings of any kind, with `overrides` on top.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return kind(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        prefix = kind.model_config["env_prefix"]
        problems = [f"{prefix}{str(p['loc'][0]).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()]
        raise SettingsError(" ".join(problems)) from error
