"""``python -m flows.worker``: runs on this machine what Prefect's server has for it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from flows import deploy
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.settings import read_flow_settings
from mien.errors import MienError
from serving import read_settings

if TYPE_CHECKING:
    from pathlib import Path

_START_TIMEOUT_S = 300.0
"""Prefect's server makes its tables at its first start, which takes a slow disk a minute."""


def main() -> int:
    """Wait for the server, register every deployment, and work; returns the exit status."""
    try:
        settings = read_flow_settings()
        os.environ.setdefault("PREFECT_API_URL", settings.prefect_api)
        serving = read_settings()
        prefect_environment.prepare(serving, settings)
        _wait_for(os.environ["PREFECT_API_URL"])
        from flows.orchestration.lost_runs import end_lost_runs

        name = _name(serving.state.resolve())
        end_lost_runs(name)
        print(f"Registered: {', '.join(deploy.for_this_machine(settings))}", flush=True)
    except MienError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    arguments = ["worker", "start", "--pool", settings.work_pool, "--type", "process", "--name", name]
    # In place of this process, so that its keeper ends the worker itself.
    return os.execv(sys.executable, [sys.executable, "-m", "prefect", *arguments])  # noqa: S606 - our own interpreter


def _name(state: Path) -> str:
    """The worker's name: one of each state folder of each machine."""
    return f"{socket.gethostname()} {hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def _wait_for(api: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not prefect_environment.answers(api):
        if time.monotonic() > deadline:
            raise FlowError(f"No Prefect server answered at {api} within {_START_TIMEOUT_S:g} s.")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
