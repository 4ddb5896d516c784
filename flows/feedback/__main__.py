"""``python -m flows.feedback``: have accepted corrections trained with, if there are enough of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from flows import command_line
from flows.orchestration import prefect_environment
from flows.retraining.subject import subjects
from flows.settings import read_flow_settings
from mien.contract import EMOTION, ensemble_named
from mien.gateway.feedback.kinds import KINDS
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def feedback(
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset that the corrections are added to; MIEN_RETRAIN_DATA, or _SPEECH_DATA, by default."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="How many new ones are enough; MIEN_FEEDBACK_BATCH by default.")
    ] = None,
    ensemble: Annotated[
        str, typer.Option(metavar="NAME", help=f"What they are about: {', '.join(KINDS)}.")
    ] = EMOTION.name,
) -> None:
    """Take erased corrections out of the datasets; if enough were accepted, make a new one and ask for a retraining."""
    subject = subjects(read_flow_settings())[ensemble_named(ensemble).name]
    prefect_environment.prepare(read_settings(), read_flow_settings())
    from flows.feedback.collection import collect_feedback, read_collection_settings

    settings = read_collection_settings()
    settings = settings if batch is None else settings.model_copy(update={"batch": batch})
    dataset = collect_feedback(data.resolve() if data else None, settings, ensemble)
    if dataset is None:
        typer.echo("Not enough new corrections to train with.")
    elif "PREFECT_API_URL" in os.environ:
        typer.echo(f"A retraining was asked for, with {dataset}.")
    else:
        command = f"python -m flows.train {dataset} --config {subject.config}"
        typer.echo(f"No Prefect server runs that would retrain by itself. To do it:\n  {command}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
