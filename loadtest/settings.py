"""Where the servers under test are, read from the environment once."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mien.errors import SettingsError

ENV_PREFIX = "MIEN_LOADTEST_"


class LoadTestSettings(BaseSettings):
    """Settings of a load test; each comes from ``MIEN_LOADTEST_<NAME>``. Triton's address is the SDK's MIEN_ENDPOINTS.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    gateway: str = Field(default="http://127.0.0.1:8080", pattern="^https?://[^/]+$", description="The gateway's URL.")
    gateway_key: str = Field(default="", repr=False, description="API key, where the gateway wants one.")
    metrics: str = Field(
        default="http://127.0.0.1:8002/metrics", pattern="^https?://", description="Triton's page of metrics."
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (pydantic's own signature)
        try:
            super().__init__(**values)
        except ValidationError as error:
            sentences = [
                f"{ENV_PREFIX}{str(part['loc'][0]).upper()} is {part['input']!r}: {part['msg']}."
                for part in error.errors()
            ]
            raise SettingsError(" ".join(sentences)) from error

    @property
    def gateway_headers(self) -> dict[str, str]:
        """What shows the gateway who is calling."""
        return {"X-API-Key": self.gateway_key} if self.gateway_key else {}
