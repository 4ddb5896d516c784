"""Where Prefect keeps its things and whom it talks to; to be set before `prefect` is imported, which reads it once."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.settings import FlowSettings
    from serving import ServingSettings


def prepare(serving: ServingSettings, flows: FlowSettings) -> None:
    """Set what the environment leaves open: state below the state folder, no telemetry, the local server if it runs.

    Without a server Prefect starts one of its own for the run, over the same database.

    Raises:
        SettingsError: the state folder cannot be made.
    """
    for name, value in variables(serving).items():
        os.environ.setdefault(name, value)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the export needs it, and a process has one
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "PREFECT_API_URL" not in os.environ and answers(flows.prefect_api):
        os.environ["PREFECT_API_URL"] = flows.prefect_api


def variables(serving: ServingSettings) -> dict[str, str]:
    """Prefect's settings as environment variables, and the folder that they name, made.

    Raises:
        SettingsError: the state folder cannot be made.
    """
    serving.create_state()
    home = serving.state.resolve() / "prefect"
    home.mkdir(exist_ok=True)  # Prefect waits in vain for a database in a folder that is not there
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        # In memory, a restart of the server would forget who holds a place, and the place would never be free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,mien,serving,training",
        # A run that gives no sign of life for three of these is ended (flows/automations.py).
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }


def answers(api: str) -> bool:
    """Whether a Prefect server answers at `api`."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
