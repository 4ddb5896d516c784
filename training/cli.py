"""The command line, ``python -m training …``."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import MienError
from mien.output import escape_what_cannot_be_encoded
from training import evaluation_commands
from training.errors import DatasetError
from training.fit_command import fit
from training.fold_command import folds
from training.search_command import search_best

if TYPE_CHECKING:
    from collections.abc import Sequence

# Heavy imports stay inside the commands: `--help` must not wait for them, and the backend of Keras is chosen first.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_SHOWN = 10
_ROOT = Path(__file__).resolve().parent.parent
_WEIGHTS = _ROOT / "training" / "weights" / "vgg_half.weights.h5"

Data = Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")]


@app.callback()
def training() -> None:
    """From a dataset of faces to an evaluated, exported model."""


@app.command("inspect")
def inspect_dataset(data: Data) -> None:
    """Report a dataset's classes, unreadable files, near-duplicates and label noise; exit code 6 if it is unusable."""
    from training.inspection import inspect

    inspection = inspect(data)
    for split, counts in inspection.counts.items():
        listed = ", ".join(f"{label} {count}" for label, count in counts.items())
        typer.echo(f"{split}: {sum(counts.values())} faces: {listed}")
    if inspection.dataset:
        typer.echo(f"digest: {inspection.dataset.digest}")
    noise = inspection.label_noise
    typer.echo(
        f"near-duplicates: {len(inspection.duplicates)} pairs, {len(inspection.leaks)} across splits; "
        f"{len(inspection.contradictions)} with different labels"
        + ("" if noise is None else f", so about {noise:.1%} of the labels are wrong")
    )
    for pair in inspection.contradictions[:_SHOWN]:
        typer.echo(f"  {pair.names[0]} is {pair.labels[0]}, {pair.names[1]} is {pair.labels[1]}")
    for problem in inspection.problems:
        typer.echo(f"{'error' if problem.fatal else 'note'}: {problem.message}")
    if inspection.dataset is None or any(problem.fatal for problem in inspection.problems):
        raise typer.Exit(DatasetError.exit_code)


@app.command()
def export(
    weights: Annotated[
        Path, typer.Option(help="Keras weights file, or the directory of a run, which brings the rest.")
    ] = _WEIGHTS,
    network: Annotated[str | None, typer.Option(help="Network of a weights file; a run knows its own.")] = None,
    repository: Annotated[Path, typer.Option(help="Model repository to write into.")] = _ROOT / "model_repository",
    release: Annotated[int, typer.Option(min=1, help="Version number of the release.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=1e-3, help="Divides the logits before the softmax; a run's own, else 1.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Dataset whose validation split gives the metrics.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a release of that number.")] = False,
    created_by: Annotated[str | None, typer.Option(help="Who makes it, for the manifest; default: the user.")] = None,
) -> None:
    """Write a release into a model repository: ONNX, SavedModel, golden outputs, manifest."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training import evaluate, networks
    from training.dataset import load
    from training.export.manifest import DatasetReference
    from training.export.release import Candidate, candidate_of_run, export_release

    if weights == _WEIGHTS:
        candidate = Candidate("vgg_half", weights, DatasetReference("FER-2013, Training split", None))
    elif network:
        candidate = Candidate(network, weights, DatasetReference("unknown", None))
    else:
        candidate = candidate_of_run(weights if weights.is_dir() else weights.parent)
    chosen: dict[str, Any] = {
        "temperature": temperature,
        "created_by": created_by,
        "weights": None if weights.is_dir() else weights,
    }
    if temperature not in (None, candidate.temperature):
        chosen["metrics"] = evaluate.of_any_temperature(candidate.metrics)
    candidate = dataclasses.replace(candidate, **{name: value for name, value in chosen.items() if value is not None})
    split = load(data, networks.find(candidate.network).ensemble).validation if data else None
    manifest = export_release(
        candidate,
        repository,
        release,
        replace=replace,
        measure=(lambda path: evaluate.onnx_metrics(path, split)) if split else None,
    )
    typer.echo(f"Release {release} is in {repository}; its manifest is {manifest}.")


app.command()(fit)
app.command()(folds)
app.command("search")(search_best)
app.command()(evaluation_commands.evaluate)
app.command()(evaluation_commands.compare)
app.command()(evaluation_commands.quantize)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error ends in a sentence and its exit code."""
    escape_what_cannot_be_encoded()
    try:
        app(arguments)
    except MienError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
