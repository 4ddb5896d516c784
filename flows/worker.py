"""``python -m flows.worker``: runs on this machine what Prefect's server has for it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import typer

from flows import command_line, deploy
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.settings import read_flow_settings
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_START_TIMEOUT_S = 300.0
"""Prefect's server makes its tables at its first start, which takes a slow disk a minute."""


@app.command()
def worker() -> None:
    """Wait for the Prefect server at PREFECT_API_URL, by default the local one, register every deployment, and work."""
    settings = read_flow_settings()
    os.environ.setdefault("PREFECT_API_URL", settings.prefect_api)
    serving = read_settings()
    prefect_environment.prepare(serving, settings)
    _wait_for(os.environ["PREFECT_API_URL"])
    from flows.orchestration.lost_runs import end_lost_runs

    name = _name(serving.state.resolve())
    end_lost_runs(name)
    typer.echo(f"Registered: {', '.join(deploy.for_this_machine(settings))}")
    arguments = ["worker", "start", "--pool", settings.work_pool, "--type", "process", "--name", name]
    # In place of this process, so that its keeper ends the worker itself.
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *arguments])  # noqa: S606 - our own interpreter


def _name(state: Path) -> str:
    """The worker's name: one of each state folder of each machine."""
    return f"{socket.gethostname()} {hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def _wait_for(api: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not prefect_environment.answers(api):
        if time.monotonic() > deadline:
            raise FlowError(f"No Prefect server answered at {api} within {_START_TIMEOUT_S:g} s.")
        time.sleep(0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, unless Prefect's worker has taken this process's place."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
