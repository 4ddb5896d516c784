"""``python -m flows.serve``: everything on one machine, in the foreground; one Ctrl-C stops all of it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from flows import command_line, companions
from flows.companions import Companion
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.settings import read_flow_settings
from mien.gateway.settings import GatewaySettings
from serving import read_settings
from serving.foreground import serve as serve_triton
from serving.ports import take_port
from serving.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.settings import FlowSettings
    from serving import ServingSettings, TritonServer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    *,
    gateway: Annotated[bool, typer.Option(help="The REST gateway with its page.")] = True,
    flows: Annotated[bool, typer.Option(help="Prefect's server and a worker, for retraining and releases.")] = True,
) -> None:
    """Run Triton, and beside it the gateway and Prefect's server with a worker, until Ctrl-C.

    What dies is started again.
    """
    settings = read_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Before anything starts: a setting that makes no sense, or a port that is taken, shall not end it half-way.
    rest = GatewayPlan.of(settings) if gateway else None
    orchestration = OrchestrationPlan.of(settings, read_flow_settings()) if flows else None
    stop = threading.Event()
    watching: list[threading.Thread] = []

    def begin(server: TritonServer) -> None:
        beside = [
            *(rest.companions(server.endpoint) if rest else ()),
            *(orchestration.companions(rest.url if rest else "") if orchestration else ()),
        ]
        if rest:
            typer.echo(f"  gateway   {rest.url}")
        if orchestration:
            typer.echo(f"  Prefect   {orchestration.url} (its first start takes a minute)")
            typer.echo(f"  metrics   http://{LOOPBACK}:{orchestration.metrics_port}/metrics (of the flows)")
            typer.echo(f"  login     {orchestration.login} has what its page asks for")
        for companion in beside:
            typer.echo(f"  log       {companion.log}")
        watching.append(threading.Thread(target=companions.run, args=(beside, stop)))
        watching[0].start()

    try:
        serve_triton(settings, begin)
    finally:
        stop.set()
        for thread in watching:
            thread.join()


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """The gateway that is to be started: where it listens, and whose state folder it uses."""

    state: Path
    logs: Path
    url: str
    port: int

    @classmethod
    def of(cls, settings: ServingSettings) -> GatewayPlan:
        """As the environment says.

        Raises:
            SettingsError: a setting of the gateway does not make sense.
            PortTakenError: another process listens on its port.
        """
        gateway = GatewaySettings()
        port = take_port(gateway.port, "MIEN_GATEWAY_PORT")
        url = f"{'https' if gateway.uses_tls else 'http'}://{gateway.host}:{port}"
        return cls(settings.state.resolve() / "gateway", settings.log_path.parent, url, port)

    def companions(self, endpoint: str) -> list[Companion]:
        """The gateway, calling the server at `endpoint`."""
        ours = {
            "MIEN_ENDPOINTS": endpoint,
            "MIEN_GATEWAY_KEYS_FILE": str(self.state / "keys.json"),
            "MIEN_GATEWAY_SPOOL": str(self.state / "spool"),
        }
        environment = ours | os.environ | {"MIEN_GATEWAY_PORT": str(self.port)}
        command = [sys.executable, "-m", "mien.gateway"]
        return [Companion("the gateway", command, environment, self.logs / "gateway.log")]


@dataclass(frozen=True, slots=True)
class OrchestrationPlan:
    """Prefect's server and a worker that are to be started."""

    environment: dict[str, str]
    login: Path
    logs: Path
    url: str
    port: int
    metrics_port: int

    @classmethod
    def of(cls, settings: ServingSettings, flow_settings: FlowSettings) -> OrchestrationPlan:
        """As the environment says.

        Raises:
            FlowError: Prefect is not installed.
            PortTakenError: another process listens on its port.
        """
        if importlib.util.find_spec("prefect") is None:
            raise FlowError("Prefect is not installed. `make install` does it; `make serve FLOWS=0` goes without.")
        port = take_port(flow_settings.prefect_port, "MIEN_PREFECT_PORT")
        metrics_port = take_port(flow_settings.flow_metrics_port, "MIEN_FLOW_METRICS_PORT")
        environment = prefect_environment.variables(settings) | os.environ
        environment["PREFECT_API_URL"] = environment["PREFECT_UI_API_URL"] = flow_settings.prefect_api
        login = prefect_environment.login_path(settings)
        return cls(environment, login, settings.log_path.parent, f"http://{LOOPBACK}:{port}", port, metrics_port)

    def companions(self, gateway_url: str) -> list[Companion]:
        """Prefect's server, a worker, and what counts its runs for Prometheus.

        The worker watches the traffic of the gateway at `gateway_url` if there is one.
        """
        listen = ["--host", LOOPBACK, "--port", str(self.port)]
        traffic = {"MIEN_TRAFFIC_URLS": f"{gateway_url}/metrics"} if gateway_url else {}
        return [
            Companion(
                "Prefect's server",
                [sys.executable, "-m", "prefect", "server", "start", *listen],
                self.environment,
                self.logs / "prefect-server.log",
            ),
            Companion(
                "Prefect's worker",
                [sys.executable, "-m", "flows.worker"],
                traffic | self.environment,
                self.logs / "prefect-worker.log",
            ),
            Companion(
                "the flows' metrics",
                [sys.executable, "-m", "flows.exporter"],
                self.environment | {"MIEN_FLOW_METRICS_PORT": str(self.metrics_port)},
                self.logs / "flow-metrics.log",
            ),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
