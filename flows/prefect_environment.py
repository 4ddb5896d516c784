"""Where Prefect keeps its things and whom it talks to; to be set before `prefect` is imported, which reads it once."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving import ServingSettings

DEFAULT_API = "http://127.0.0.1:4200/api"


def prepare(settings: ServingSettings) -> None:
    """Set what the environment leaves open: state below the state folder, no telemetry, the local server if it runs.

    Without a server Prefect starts one of its own for the run, over the same database.

    Raises:
        ServingError: the state folder cannot be made.
    """
    settings.create_state()
    home = settings.state.resolve() / "prefect"
    home.mkdir(exist_ok=True)  # Prefect waits in vain for a database in a folder that is not there
    defaults = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" not in os.environ and _answers(DEFAULT_API):
        os.environ["PREFECT_API_URL"] = DEFAULT_API


def _answers(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as response:  # noqa: S310 - always our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
