"""The command ``fit`` of ``python -m training``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

# As in `training.cli`, heavy imports stay inside; the backend of Keras is chosen before it is imported.

_RUNS = Path("runs")


class Backend(StrEnum):
    """Backends of Keras."""

    tensorflow = "tensorflow"
    jax = "jax"
    torch = "torch"


def fit(
    data: Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")],
    config: Annotated[
        str, typer.Option(help="A module of training/configs, or a path to a .py file with a CONFIG.")
    ] = "quick",
    run: Annotated[
        Path | None,
        typer.Option(help="The run's directory; a run that was broken off there goes on. Default: a new one."),
    ] = None,
    backend: Annotated[Backend | None, typer.Option(help="Backend of Keras; Keras' own choice by default.")] = None,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable files out.")] = False,
) -> None:
    """Train a network, keep the best epoch's weights and report on them."""
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend.value
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from mien.contract import FACES
    from training import fit as fitting
    from training import networks
    from training.classifier import open_weights
    from training.config_file import open_config
    from training.dataset import load
    from training.evaluate import evaluate
    from training.report import write_report
    from training.run_record import read_run

    settings = open_config(config)
    directory = run or _RUNS / f"{Path(config).stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    typer.echo(f"Reading {data} …")
    ensemble = networks.find(settings.network).ensemble
    dataset = load(data, ensemble, skip_unreadable=skip_unreadable)
    typer.echo(f"Training {settings.network} on {len(dataset.train):,} examples, into {directory}.")
    result = fitting.fit(settings, dataset, directory)
    held_out = fitting.divide(settings, dataset.train)[1]
    evaluation = evaluate(open_weights(result.weights, settings.network), dataset, held_out=held_out, corruptions=())
    pictures = dataset.validation.examples if ensemble.input == FACES else None
    page = write_report(directory, evaluation, pictures, read_run(directory))
    typer.echo(f"Validation accuracy {evaluation.report.accuracy:.4f} (epoch {result.best_epoch + 1}). Report: {page}")
