"""What starts a retraining by itself, and where Prefect's server is, read from the environment once."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations at run time
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mien.errors import SettingsError
from serving.settings import LOOPBACK


class FlowSettings(BaseSettings):
    """Settings of the flows; each comes from ``MIEN_<NAME>`` in the environment.

    Where Prefect keeps its records is Prefect's own setting: ``PREFECT_API_DATABASE_CONNECTION_URL``, such as
    ``postgresql+asyncpg://user:password@host/prefect``; by default it is SQLite in the state folder.

    Attributes:
        prefect_port: port of the local Prefect server and its page.
        flow_metrics_host: address on which `flows.exporter` listens.
        flow_metrics_port: port on which it serves Prometheus metrics.
        work_pool: the work pool that the deployments are for.
        retrain_data: dataset of runs that a schedule or an event starts; without it such runs need one given.
        retrain_config: their configuration.
        retrain_schedule: when to retrain in any case, as a cron line in UTC such as ``0 3 * * 0``; empty for never.
        retrain_speech_data: recordings of speech, for runs that a schedule or an event starts.
        retrain_speech_config: their configuration.
        retrain_speech_schedule: as `retrain_schedule`, for speech.
        watch_interval_s: how often to look whether the dataset has changed and whether the traffic has drifted.
        platform: where releases are served: by the server of this state folder, or on Kubernetes.
        kubernetes_namespace: where Triton's Deployment is.
        kubernetes_workload: its name.
        rollout_timeout_s: how long new pods may take to be ready; then the release before is rolled out again.
        notify_url: gets a POST with a JSON body when a run fails or crashes, such as a chat's incoming webhook.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_", extra="ignore", frozen=True, env_ignore_empty=True)

    prefect_port: int = Field(default=4200, ge=1, le=65535)
    flow_metrics_host: str = LOOPBACK
    flow_metrics_port: int = Field(default=8003, ge=0, le=65535)
    work_pool: str = Field(default="mien", min_length=1)
    retrain_data: Path | None = None
    retrain_config: str = "quick"
    retrain_schedule: str = ""
    retrain_speech_data: Path | None = None
    retrain_speech_config: str = "speech_linear"
    retrain_speech_schedule: str = ""
    watch_interval_s: float = Field(default=900.0, ge=1)
    platform: Literal["local", "kubernetes"] = "local"
    kubernetes_namespace: str = "mien"
    kubernetes_workload: str = "triton"
    rollout_timeout_s: float = Field(default=1200.0, gt=0)
    notify_url: SecretStr | None = None

    @property
    def prefect_api(self) -> str:
        """Address of the local Prefect server's API."""
        return f"http://127.0.0.1:{self.prefect_port}/api"


def read_flow_settings() -> FlowSettings:
    """The settings from the environment.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return FlowSettings()
    except ValidationError as error:
        problems = [
            f"MIEN_{'_'.join(map(str, p['loc'])).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()
        ]
        raise SettingsError(" ".join(problems)) from error
