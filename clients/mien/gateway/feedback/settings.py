"""What the feedback store can be told, read once from the environment or passed in.

Every field of `FeedbackSettings` is also an environment variable: its name in capitals after ``MIEN_FEEDBACK_``, but
for `enabled`, which is ``MIEN_FEEDBACK``, and `state`, which is ``MIEN_STATE``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mien.errors import SettingsError

ENV_PREFIX = "MIEN_FEEDBACK_"


def _below_state(name: str) -> Any:  # noqa: ANN401 (pydantic's own)
    return Field(default_factory=lambda data: (data["state"] / "feedback" / name).absolute())


class FeedbackSettings(BaseSettings):
    """Settings of the feedback store; frozen.

    Raises:
        SettingsError: a value does not make sense; the text names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, populate_by_name=True
    )

    enabled: bool | None = Field(
        default=None,
        validation_alias="MIEN_FEEDBACK",
        description="Whether corrections are taken; by default only where the gateway listens on loopback.",
    )
    state: Path = Field(default=Path(".mien"), validation_alias="MIEN_STATE", description="The state folder.")
    database: str = Field(
        default_factory=lambda data: f"sqlite:///{(data['state'] / 'feedback' / 'feedback.db').absolute()}",
        repr=False,
        description="SQLAlchemy URL: sqlite:///PATH, or postgresql://user:password@host/name.",
    )
    pictures: str = Field(
        default_factory=lambda data: str((data["state"] / "feedback" / "pictures").absolute()),
        description="Where the encrypted pictures lie: a folder, or a URL that fsspec knows, such as s3://bucket/path.",
    )
    key: SecretStr | None = Field(
        default=None,
        description="Fernet keys of the pictures, separated by commas: the first encrypts, all decrypt.",
    )
    key_file: Path = _below_state("key")
    """Where the keys are, one a line, if `key` is not set; made at first use, readable by its owner only."""
    retention_days: int = Field(default=180, ge=1, le=3650, description="Days after which a correction is erased.")
    purge_interval_s: float = Field(default=3600.0, ge=1, description="How often a gateway looks for those.")
    per_minute: int = Field(default=20, ge=1, description="Corrections a minute, by API key or address.")
    max_picture_bytes: int = Field(default=256 * 2**10, ge=1, description="Largest file of a face.")
    max_recording_bytes: int = Field(
        default=2 * 2**20, ge=1, description="Largest file of speech; 3 s in stereo of 96 kHz and 24 bits have 1.7 MB."
    )
    max_stored: int = Field(default=100_000, ge=1, description="Most corrections kept; further ones are refused.")
    reviewers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names or ids of the API keys that may review, separated by commas."
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (pydantic's own signature)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(" ".join(map(_sentence, error.errors()))) from error

    @field_validator("reviewers", mode="before")
    @classmethod
    def _split_reviewers(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _sentence(problem: Any) -> str:  # noqa: ANN401 (pydantic's ErrorDetails)
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"The feedback store has no setting {name!r}; there are: {', '.join(FeedbackSettings.model_fields)}."
    variable = name if name.startswith("MIEN_") else f"{ENV_PREFIX}{name.upper()}"
    return f"{variable} is {problem['input']!r}: {problem['msg']}."
