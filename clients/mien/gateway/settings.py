"""What the gateway can be told, read once from the environment or passed in.

Every field of `GatewaySettings` is also an environment variable: its name in capitals after ``MIEN_GATEWAY_``. Which
Triton it calls and how faces are found are settings of the client it holds: `mien.settings`.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mien.errors import SettingsError

ENV_PREFIX = "MIEN_GATEWAY_"

MEBIBYTE = 2**20


class GatewaySettings(BaseSettings):
    """Settings of the gateway; frozen.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tls_certificate: Path | None = Field(default=None, description="PEM certificate chain; the gateway speaks HTTPS.")
    tls_key: Path | None = Field(default=None, description="PEM private key of that certificate.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto count.",
    )
    log_format: Literal["json", "console"] = Field(default="json", description="One JSON object a line, or for people.")

    require_keys: bool | None = Field(
        default=None, description="Whether callers need an API key; by default on every address but loopback."
    )
    keys_file: Path = Field(
        default=Path(".mien/gateway/keys.json"), description="Hashes of the API keys; read again when it changes."
    )

    detect_per_minute: int = Field(default=100, ge=1, description="Pictures a minute, by API key or address.")
    detect_video_per_minute: int = Field(default=10, ge=1, description="Videos a minute, by API key or address.")
    detect_audio_per_minute: int = Field(default=60, ge=1, description="Recordings a minute, by API key or address.")
    limits_url: str = Field(
        default="memory://",
        description="Where those are counted: memory:// for this process alone, redis://host:port for all replicas.",
    )
    max_in_flight: int = Field(
        default=64, ge=1, description="Pictures taken in at once; further callers get 503 and may try again."
    )

    max_image_bytes: int = Field(default=10 * MEBIBYTE, ge=1, description="Largest picture file.")
    max_video_bytes: int = Field(default=100 * MEBIBYTE, ge=1, description="Largest video file.")
    max_faces: int = Field(
        default=256, ge=1, description="Most faces answered for a picture or frame: the largest ones."
    )
    image_upload_timeout_s: float = Field(default=30.0, gt=0, description="Seconds that a picture may take to arrive.")
    video_upload_timeout_s: float = Field(default=300.0, gt=0, description="Seconds that a video may take to arrive.")

    workers: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2,
        ge=1,
        le=256,
        description="Processes that decode pictures and look for faces; by default one for each processor.",
    )
    worker_memory_bytes: int = Field(
        default=1536 * MEBIBYTE, ge=256 * MEBIBYTE, description="Memory of each such process (RLIMIT_DATA)."
    )
    decode_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds for decoding one picture and finding its faces."
    )

    cameras_per_minute: int = Field(default=20, ge=1, description="Cameras opened a minute, by API key or address.")
    max_cameras: int = Field(default=8, ge=1, description="Cameras open at once; further callers get 503.")
    max_cameras_per_caller: int = Field(default=2, ge=1, description="Of those, one caller's.")
    camera_frames_per_second: float = Field(
        default=10.0,
        gt=0,
        le=60,
        description="Frames of one camera looked at each second; what comes between is dropped.",
    )
    max_camera_frame_bytes: int = Field(default=512 * 2**10, ge=1, description="Largest frame of a camera.")
    camera_idle_s: float = Field(default=30.0, gt=0, description="A camera that sends nothing this long is closed.")

    max_audio_bytes: int = Field(default=50 * MEBIBYTE, ge=1, description="Largest file of a recording.")
    max_recording_duration_s: float = Field(default=1800.0, gt=0, description="Longest recording.")
    audio_upload_timeout_s: float = Field(
        default=150.0, gt=0, description="Seconds that a recording may take to arrive."
    )
    max_recordings: int = Field(
        default=16, ge=1, description="Recordings taken in at once; further callers get 503 and may try again."
    )
    recordings_at_once: int = Field(
        default=2, ge=1, description="Recordings analysed at once, each in a process of its own; the others wait."
    )
    recording_timeout_s: float = Field(default=120.0, gt=0, description="Seconds for the analysis of one recording.")
    recording_niceness: int = Field(
        default=5, ge=0, le=19, description="How far recordings stand back behind pictures."
    )

    spool: Path = Field(
        default=Path(".mien/gateway/spool"),
        description="Where a video or a recording lies until it is analysed; then it is removed.",
    )
    max_video_uploads: int = Field(default=4, ge=1, description="Videos taken in at once.")
    videos_at_once: int = Field(default=1, ge=1, description="Videos analysed at once, each in a process of its own.")
    max_videos: int = Field(default=16, ge=1, description="Videos waiting or analysed; further callers get 503.")
    max_results: int = Field(default=64, ge=1, description="Finished videos whose results are kept.")
    result_lifetime_s: float = Field(default=900.0, gt=0, description="Seconds that a video's result is kept.")
    video_wait_s: float = Field(
        default=30.0, ge=0, description="Seconds that a caller waits for a video's result before getting 202 and a job."
    )
    video_timeout_s: float = Field(default=1800.0, gt=0, description="Seconds for the analysis of one video.")
    max_video_duration_s: float = Field(default=3600.0, gt=0, description="Longest video.")
    max_video_frames: int = Field(default=3600, ge=1, description="Most frames analysed of one video.")
    video_niceness: int = Field(default=10, ge=0, le=19, description="How far videos stand back behind pictures.")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (pydantic's own signature)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentences(error)) from error

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy)
        return proxies

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or neither")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the gateway speaks HTTPS."""
        return self.tls_certificate is not None

    @property
    def needs_keys(self) -> bool:
        """Whether callers need an API key."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sentences(error: ValidationError) -> str:
    return " ".join(_sentence(part["loc"], part["msg"], part["input"]) for part in error.errors())


def _sentence(location: tuple[int | str, ...], message: str, value: object) -> str:
    message = message.removeprefix("Value error, ")
    if not location:
        return f"The gateway's settings do not fit together: {message}."
    name = str(location[0])
    if name not in GatewaySettings.model_fields:
        return f"The gateway has no setting {name!r}; there are: {', '.join(GatewaySettings.model_fields)}."
    return f"Setting {name} (environment variable {ENV_PREFIX}{name.upper()}) is {value!r}: {message}."
