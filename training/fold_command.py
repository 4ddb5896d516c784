"""The command ``folds`` of ``python -m training``."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.run_record import RunRecord

# As in `training.cli`, heavy imports stay inside.

_RUNS = Path("runs")


def folds(
    data: Annotated[Path, typer.Argument(help="Recordings: a directory, a zip of one, or a CSV file.")],
    config: Annotated[
        str, typer.Option(help="A module of training/configs, or a path to a .py file with a CONFIG.")
    ] = "speech_linear",
    run: Annotated[
        Path | None, typer.Option(help="The runs' directory; what is finished there is not done again.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Seeds to measure with, the configuration's and those after it; gives the spread."),
    ] = 1,
) -> None:
    """Train without each speaker in turn, measure on who was left out, then train on all; writes a report."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training import networks
    from training.config_file import open_config
    from training.dataset import load
    from training.folds import ALL_VOICES, leave_one_speaker_out
    from training.report import write_report
    from training.run_record import read_run

    settings = open_config(config)
    folder = run or _RUNS / f"{Path(config).stem}-folds-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    typer.echo(f"Reading {data} …")
    dataset = load(data, networks.find(settings.network).ensemble)
    evaluation = leave_one_speaker_out(settings, dataset, folder, typer.echo, seeds)
    command = f"python -m training folds DATA --config {config}" + (f" --seeds {seeds}" if seeds > 1 else "")
    page = write_report(folder, evaluation, run=_without_validation(read_run(folder / ALL_VOICES)), command=command)
    report = evaluation.report
    typer.echo(
        f"{report.examples} recordings of unheard speakers: unweighted average recall {report.macro_recall:.4f},"
        f" accuracy {report.accuracy:.4f}, macro-F1 {report.macro_f1:.4f}. Report: {page}"
    )
    if evaluation.draws:
        typer.echo(
            f"Unweighted average recall over {len(evaluation.draws)} seeds, mean ± deviation and range:"
            f" {evaluation.spreads['macro_recall']}."
        )
    typer.echo(f"Release it: python -m training export --weights {folder / ALL_VOICES} --release N")


def _without_validation(run: RunRecord) -> RunRecord:
    """The record without figures of a validation split: there is none, what bears its name was fitted to."""
    history = {name: values for name, values in run.history.items() if not name.startswith("val_")}
    facts = {name: value for name, value in run.facts.items() if name != "validation_accuracy"}
    return replace(run, history=history, facts=facts)
