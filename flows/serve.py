"""``python -m flows.serve``: everything on one machine, in the foreground; one Ctrl-C stops all of it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from flows import command_line, companions, prefect_environment
from flows.companions import Companion
from flows.errors import FlowError
from flows.settings import read_flow_settings
from serving import read_settings
from serving.foreground import serve as serve_triton
from serving.ports import take_port
from serving.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.settings import FlowSettings
    from serving import ServingSettings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    *,
    flows: Annotated[bool, typer.Option(help="Prefect's server and a worker, for retraining and releases.")] = True,
) -> None:
    """Run Triton, and beside it Prefect's server with a worker, until Ctrl-C; what dies is started again."""
    settings, flow_settings = read_settings(), read_flow_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    beside = orchestration(settings, flow_settings) if flows else []
    stop = threading.Event()
    watching = threading.Thread(target=companions.run, args=(beside, stop))

    def begin() -> None:
        watching.start()
        if flows:
            typer.echo(f"  Prefect   http://{LOOPBACK}:{flow_settings.prefect_port} (its first start takes a minute)")
        for companion in beside:
            typer.echo(f"  log       {companion.log} ({companion.name})")

    try:
        serve_triton(settings, begin)
    finally:
        stop.set()
        if watching.ident:
            watching.join()


def orchestration(settings: ServingSettings, flow_settings: FlowSettings) -> list[Companion]:
    """Prefect's server and a worker.

    Raises:
        FlowError: Prefect is not installed.
        PortTakenError: another process listens on its port.
    """
    if importlib.util.find_spec("prefect") is None:
        raise FlowError("Prefect is not installed. `make install` does it; `make serve FLOWS=0` goes without.")
    port = take_port(flow_settings.prefect_port, "MIEN_PREFECT_PORT")
    environment = prefect_environment.variables(settings) | os.environ
    environment["PREFECT_API_URL"] = flow_settings.prefect_api
    environment["PREFECT_UI_API_URL"] = flow_settings.prefect_api
    prefect = [sys.executable, "-m", "prefect"]
    logs = settings.log_path.parent
    return [
        Companion(
            "Prefect's server",
            [*prefect, "server", "start", "--host", LOOPBACK, "--port", str(port)],
            environment,
            logs / "prefect-server.log",
        ),
        Companion("Prefect's worker", [sys.executable, "-m", "flows.worker"], environment, logs / "prefect-worker.log"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
