"""The command ``search`` of ``python -m training``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from training.fit_command import Backend

# As in `training.cli`, heavy imports stay inside; the backend of Keras is chosen before it is imported.
# Typer reads the annotations when it runs, so none of their types may be imported for the type checker alone.

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def search_best(
    data: Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")],
    run: Annotated[Path, typer.Option(help="The search's directory; one that was broken off there goes on.")],
    config: Annotated[
        str, typer.Option(help="What is varied: a module of training/configs, or a path to a .py file with a CONFIG.")
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
    backend: Annotated[Backend | None, typer.Option(help="Backend of Keras; Keras' own choice by default.")] = None,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable files out.")] = False,
    join: Annotated[
        bool, typer.Option("--join", help="Take part in a search that another command prepares and concludes.")
    ] = False,
) -> None:
    """Search for a better configuration by short trainings; chosen on validation, never on test."""
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend.value
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import optuna

    from training import networks
    from training.config_file import open_config
    from training.dataset import load
    from training.search import Search
    from training.search_display import Display
    from training.search_report import training_command, write_search
    from training.settings import TrainingSettings
    from training.space import load_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the display says the same
    base, searched = open_config(config), load_space(space)
    typer.echo(f"Reading {data} …")
    dataset = load(data, networks.find(base.network).ensemble, skip_unreadable=skip_unreadable)
    search = Search(
        base,
        searched,
        dataset,
        run,
        trials,
        epochs=epochs,
        faces=faces,
        seed=seed,
        storage=TrainingSettings().study_storage,
    )
    typer.echo(f"Searching {', '.join(searched.parameters)} for {base.network}, in {run}.")
    try:
        with Display() as display:
            if join:
                search.work(display.show)
                return
            result = search.run(display.show)
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    page = write_search(run, result, str(data))
    typer.echo(f"Report: {page}")
    typer.echo(
        f"Best: trial {result.best.number}, validation accuracy {result.best.accuracy:.4f}. To train it in full:"
    )
    typer.echo(f"  {training_command(run, str(data))}")
