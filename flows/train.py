"""``python -m flows.train``: from a dataset to a served release, in one Prefect run."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from flows import command_line
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.retraining.subject import ensemble_of
from flows.running_server import check_serving
from flows.settings import read_flow_settings
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")],
    config: Annotated[str, typer.Option(help="A module of training/configs, or a file with a CONFIG.")] = "quick",
    accept_anyway: Annotated[
        str, typer.Option(metavar="REASON", help="Promote a candidate that the gate refuses; the reason is kept.")
    ] = "",
    promote: Annotated[bool, typer.Option(help="Serve the release; otherwise it is only published.")] = True,
    feedback: Annotated[bool, typer.Option(help="Train with the accepted corrections too.")] = True,
) -> None:
    """Check a dataset, train, export, hold against the release that is served, publish and promote.

    A run that was broken off goes on where it was when it is started again with the same dataset and configuration.
    """
    settings = read_settings()
    if promote:
        check_serving(settings, ensemble_of(config))
    if not data.exists():
        raise FlowError(
            f"There is no {data}. Give FER-2013 as a folder, a zip or its CSV, or recordings as a folder or a zip."
        )
    prefect_environment.prepare(settings, read_flow_settings())
    from flows.retraining.pipeline import retrain

    outcome = retrain(data.resolve(), config, promote=promote, accept_anyway=accept_anyway, feedback=feedback)
    typer.echo(f"{outcome.decision}\nRelease {outcome.release} is {'served' if outcome.served else 'published'}.")
    typer.echo(f"Report: {outcome.run / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
