"""``python -m flows.search``: look for a better configuration with several workers, in one Prefect run."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from flows import command_line
from flows.errors import FlowError
from flows.orchestration import prefect_environment
from flows.settings import read_flow_settings
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def search(
    data: Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")],
    run: Annotated[Path | None, typer.Option(help="The search's directory; by default its options name one.")] = None,
    config: Annotated[
        str, typer.Option(help="What is varied: a module of training/configs, or a file with a CONFIG.")
    ] = "quick",
    space: Annotated[str, typer.Option(help="A module of training/spaces.")] = "recipe",
    trials: Annotated[int, typer.Option(min=1, help="Trials in total, those of earlier calls included.")] = 20,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of a trial; the configuration's by default.")
    ] = None,
    faces: Annotated[
        int | None, typer.Option(min=1, help="Train on so many faces, balanced over the classes; all by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the suggestions and of the subset.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="How many trials at a time.")] = 2,
    *,
    on_work_pool: Annotated[
        bool, typer.Option("--on-work-pool", help="Workers are runs of search-trials on the work pool, not processes.")
    ] = False,
) -> None:
    """Search for a better configuration by short trainings; chosen on validation, never on test.

    A search that was broken off goes on when it is started again with the same options.
    """
    if not data.exists():
        raise FlowError(f"There is no {data}. Give FER-2013 as a folder, a zip or its CSV.")
    backend = os.environ.get("KERAS_BACKEND")
    prefect_environment.prepare(read_settings(), read_flow_settings())
    if backend:  # a search exports nothing, so any will do
        os.environ["KERAS_BACKEND"] = backend
    from flows.retraining import search_pipeline

    best = search_pipeline.search(
        data.resolve(),
        config,
        space,
        run=run.resolve() if run else None,
        trials=trials,
        epochs=epochs,
        faces=faces,
        seed=seed,
        workers=workers,
        on_work_pool=on_work_pool,
    )
    typer.echo(f"Report: {best.with_name('report.html')}")
    typer.echo(f"To train the best in full and release it:\n  python -m flows.train {data} --config {best}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
