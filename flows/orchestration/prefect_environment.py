"""Where Prefect keeps its things and whom it talks to; to be set before `prefect` is imported, which reads it once."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from flows.settings import FlowSettings
    from serving import ServingSettings


def prepare(serving: ServingSettings, flows: FlowSettings) -> None:
    """Set what the environment leaves open: state below the state folder, no telemetry, the local server if it runs.

    Without a server Prefect starts one of its own for the run, over the same database.

    Raises:
        SettingsError: the state folder cannot be made.
    """
    api = os.environ.get("PREFECT_API_URL", flows.prefect_api)
    for name, value in variables(serving).items():
        if name != "PREFECT_API_AUTH_STRING" or api == flows.prefect_api:  # another server has another password
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
    login = _login(login_path(serving))
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        # The newer of its two pages asks a server of Amplitude's for settings whenever it is opened, telemetry or not.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # Beside the package, where it is by default, it goes when `make install` renews the package under a server.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "page"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        # In memory, a restart of the server would forget who holds a place, and the place would never be free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Its own broker loses a notification that SQLite refuses four times in a tenth of a second.
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "flows.orchestration.messages",
        # Whoever may use the API may run commands: no other user of this machine, no page in the operator's browser.
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,mien,serving,training",
        # A run that gives no sign of life for three of these is ended (flows/automations.py).
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }


def login_path(serving: ServingSettings) -> Path:
    """Where the local server's name and password are: what its page asks for."""
    return serving.state.resolve() / "prefect" / "login"


def _login(path: Path) -> str:
    """Name and password of the local server, made at the first use."""
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # 0600, and whole before it has its name
            file.write(f"mien:{secrets.token_urlsafe(24)}")
            file.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text()


def answers(api: str) -> bool:
    """Whether a Prefect server answers at `api`."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
