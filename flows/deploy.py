"""``python -m flows.deploy``: registers flows, schedules, triggers and automations with Prefect's server."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import command_line
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.settings import read_flow_settings
from serving import read_settings
from serving.settings import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.settings import FlowSettings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def deploy(
    *,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Runs are jobs of a Kubernetes cluster.")] = False,
    image: Annotated[str, typer.Option(help="With --kubernetes: the image with this code and training.")] = "",
    namespace: Annotated[str, typer.Option(help="With --kubernetes: where the jobs run.")] = "mien",
    gpus: Annotated[int, typer.Option(min=0, help="With --kubernetes: GPUs of a job.")] = 1,
    state_claim: Annotated[
        str, typer.Option(help="With --kubernetes: volume claim of the state folder.")
    ] = "mien-state",
) -> None:
    """Register every deployment with the Prefect server at PREFECT_API_URL; by default the local one.

    Registering again brings everything up to date. MIEN_RETRAIN_DATA, MIEN_RETRAIN_CONFIG, MIEN_RETRAIN_SCHEDULE,
    MIEN_WATCH_INTERVAL_S and MIEN_NOTIFY_URL say what runs by itself, flows/settings.py explains them.
    """
    settings = read_flow_settings()
    prefect_environment.prepare(read_settings(), settings)
    _check_server(settings)
    if kubernetes and not image:
        raise FlowError("--kubernetes needs --image: the jobs run in it, with this code and training's packages.")
    if kubernetes:
        job = {"image": image, "namespace": namespace, "gpus": gpus, "state_claim": state_claim}
        names = for_kubernetes(settings, job)
    else:
        names = for_this_machine(settings)
    typer.echo(f"Registered with the work pool {settings.work_pool}: {', '.join(names)}.")


def for_this_machine(settings: FlowSettings) -> list[str]:
    """Register everything for a worker that starts processes from this checkout; gives the deployments' names."""
    from flows.orchestration.work_pools import process_pool

    process_pool(settings.work_pool)
    # With a command of its own a run is one process; by default another one looks for its code first.
    process = {"working_dir": str(CHECKOUT), "command": f"{shlex.quote(sys.executable)} -m prefect.engine"}
    return asyncio.run(register(settings, process))


def for_kubernetes(settings: FlowSettings, job: dict[str, Any]) -> list[str]:
    """Register everything for a worker that starts jobs in a cluster; gives the deployments' names."""
    from flows.orchestration.work_pools import kubernetes_pool

    kubernetes_pool(settings.work_pool)
    return asyncio.run(register(settings, job))


async def register(settings: FlowSettings, job_variables: dict[str, Any]) -> list[str]:
    """Register deployments and automations; gives the deployments' names."""
    from flows.orchestration.automations import end_zombies, put_in_place, tell_of_failures
    from flows.orchestration.deployments import deployments

    found = deployments(settings, job_variables)
    for deployment in found:
        await deployment.aapply()
    automations = [end_zombies()]
    if settings.notify_url:
        automations.append(await tell_of_failures(settings.notify_url))
    await put_in_place(automations)
    return [deployment.full_name for deployment in found]


def _check_server(settings: FlowSettings) -> None:
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        raise FlowError(
            f"No Prefect server answers at {settings.prefect_api}. Start one with `make serve`, or set PREFECT_API_URL."
        )
    if not prefect_environment.answers(api):
        raise FlowError(f"No Prefect server answers at {api}, which PREFECT_API_URL names.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
