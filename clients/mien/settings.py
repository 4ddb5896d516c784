"""What a client can be told, read once from the environment or passed in.

Every field of `ClientSettings` is also an environment variable: its name in capitals after ``MIEN_``.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path  # noqa: TC003 (pydantic reads the annotations at run time)
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mien import contract
from mien.errors import SettingsError

ENV_PREFIX = "MIEN_"

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/47534e27c9851bb1128ccc0102f1145e27f23f98"
    "/models/face_detection_yunet/" + YUNET_FILE
)
"""OpenCV's model zoo keeps the file in Git LFS; this address gives its content as of one commit."""

PILLOW_BOMB_LIMIT = 178_956_970
"""Above this many pixels Pillow itself refuses a picture."""

DetectorName = Literal["auto", "yunet", "haar"]


class ClientSettings(BaseSettings):
    """Settings of a client; frozen, so one object may be shared by many clients.

    Raises:
        SettingsError: a value is missing or does not make sense; the text names the variable and the value.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    endpoints: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1:8001",),
        description="Where Triton's gRPC port is: 'host:port', 'dns:///name:port' for all addresses behind a name "
        "('dns://server:53/name:port' asks that name server), or several IP addresses with ports, separated by commas. "
        "Calls go round robin over all addresses.",
    )
    model: str = Field(default=contract.EMOTION.name, min_length=1, description="The ensemble to call for faces.")
    model_version: Annotated[str, Field(pattern=r"^\d*$")] = Field(
        default="", description="A release to insist on; empty for the one the server serves."
    )
    candidate: str = Field(
        default=contract.EMOTION.candidate.name,
        min_length=1,
        description="The second ensemble, with a release on trial, that the two shares below are about.",
    )
    speech_model: str = Field(
        default=contract.SPEECH_EMOTION.name, min_length=1, description="The ensemble to call for speech."
    )
    speech_model_version: Annotated[str, Field(pattern=r"^\d*$")] = Field(
        default="", description="As model_version, for speech."
    )
    speech_candidate: str = Field(
        default=contract.SPEECH_EMOTION.candidate.name, min_length=1, description="As candidate, for speech."
    )
    shadow_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of calls that the candidate is shown too, after the caller has its answer, to compare both.",
    )
    canary_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of calls that the candidate answers, if it is there and can."
    )
    deadline_s: float = Field(
        default=10.0, gt=0, le=86_400, description="Seconds for a whole call: detection, requests, retries and waiting."
    )
    retry_attempts: int = Field(
        default=5, ge=1, le=5, description="Most attempts of one request, the first included; gRPC allows up to 5."
    )
    gather: bool = Field(
        default=False,
        description="Send together what several threads or tasks ask for while two requests are under way: more faces "
        "a second for many callers of one face each. Such a request goes by the id of the first of them.",
    )
    attempt_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="With replicas: send a request that has had no answer for so many seconds again, to the next one, "
        "and put a replica that answers nothing aside. More than an answer takes under load; by default only a "
        "connection that breaks has it sent again.",
    )
    max_message_bytes: int = Field(
        default=16 * 2**20, ge=2 * 2**20, description="Largest gRPC message sent or received."
    )
    keepalive_s: float = Field(
        default=30.0, ge=10, description="While a call is open, ask the server for a sign of life this often."
    )
    keepalive_timeout_s: float = Field(default=10.0, gt=0, description="How long to wait for that sign of life.")

    tls: bool = Field(default=False, description="Encrypt the connection; implied by any of the TLS files.")
    tls_root_ca: Path | None = Field(default=None, description="PEM file of the CAs to trust instead of the system's.")
    tls_client_cert: Path | None = Field(default=None, description="PEM certificate chain shown to the server (mTLS).")
    tls_client_key: Path | None = Field(default=None, description="PEM private key of that certificate.")
    tls_server_name: str | None = Field(
        default=None, description="Name expected in the server's certificate where it is not the endpoint's host."
    )

    detector: DetectorName = Field(
        default="auto", description="Face detector: yunet, haar, or auto (YuNet, and Haar where it cannot be had)."
    )
    detector_size: int = Field(
        default=1280,
        ge=160,
        le=4096,
        description="Longest side in pixels at which faces are looked for: more finds smaller faces and costs time.",
    )
    detector_threshold: float = Field(default=0.6, gt=0, lt=1, description="Least score of a face (YuNet only).")
    yunet_path: Path | None = Field(default=None, description="A YuNet file of your own; nothing is downloaded then.")
    yunet_url: str = Field(
        default=YUNET_URL, pattern="^https?://", description="Where YuNet is fetched once; its SHA-256 is checked."
    )
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("mien"), description="Where the downloaded YuNet is kept."
    )
    max_pixels: int = Field(
        default=50_000_000,
        ge=1,
        le=PILLOW_BOMB_LIMIT,
        description="Largest picture or video frame, width x height; larger ones are refused before they are decoded.",
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (pydantic's own signature)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentences(error)) from error

    @field_validator("endpoints", mode="before")
    @classmethod
    def _split_endpoints(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("endpoints")
    @classmethod
    def _check_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        if not endpoints:
            raise ValueError("at least one 'host:port' is needed")
        for endpoint in endpoints:
            _check_host_and_port(endpoint)
        families = {address_family(endpoint) for endpoint in endpoints}
        if len(endpoints) > 1 and (len(families) > 1 or None in families):
            raise ValueError(
                "several endpoints must be IP addresses, all IPv4 or all IPv6; for replicas behind names give the one "
                "name that resolves to all of them, such as dns:///triton:8001"
            )
        return endpoints

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_client_cert is None) != (self.tls_client_key is None):
            raise ValueError("tls_client_cert and tls_client_key go together: give both or neither")
        return self

    @model_validator(mode="after")
    def _check_trial(self) -> Self:
        if self.shadow_share + self.canary_share > 1:
            raise ValueError(
                f"shadow_share ({self.shadow_share:g}) and canary_share ({self.canary_share:g}) are shares of the same "
                "calls, so together they are at most 1"
            )
        for name in ("model_version", "speech_model_version"):
            if self.canary_share and getattr(self, name):
                raise ValueError(
                    f"{name} ({getattr(self, name)}) insists on a release, which a candidate that answers a "
                    f"canary_share of {self.canary_share:g} is not: leave one of them out"
                )
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls or self.tls_root_ca is not None or self.tls_client_cert is not None

    @property
    def tries_candidate(self) -> bool:
        """Whether any call is meant for the candidate."""
        return self.shadow_share > 0 or self.canary_share > 0


def address_family(endpoint: str) -> Literal["ipv4", "ipv6"] | None:
    """Which kind of address stands before the port of `endpoint`; None for a name."""
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return "ipv4" if ipaddress.ip_address(host).version == 4 else "ipv6"
    except ValueError:
        return None


def _check_host_and_port(endpoint: str) -> None:
    host, _, port = re.sub("^dns://[^/]*/", "", endpoint).rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{endpoint!r} is not 'host:port' (or 'dns:///host:port')")


def _sentences(error: ValidationError) -> str:
    return " ".join(_sentence(part["loc"], part["msg"], part["input"]) for part in error.errors())


def _sentence(location: tuple[int | str, ...], message: str, value: object) -> str:
    message = message.removeprefix("Value error, ")
    if not location:
        return f"The settings do not fit together: {message}."
    name = str(location[0])
    if name not in ClientSettings.model_fields:
        return f"There is no setting {name!r}; there are: {', '.join(ClientSettings.model_fields)}."
    return f"Setting {name} (environment variable {ENV_PREFIX}{name.upper()}) is {value!r}: {message}."
