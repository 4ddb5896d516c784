"""The commands ``evaluate``, ``compare`` and ``quantize`` of ``python -m training``."""

from __future__ import annotations

import functools
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from mien.contract import EnsembleSpec
    from training.classifier import Classifier
    from training.dataset import Dataset
    from training.evaluate import Evaluation

# As in `training.cli`, heavy imports stay inside: `--help` must not wait for them.

_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"
_RUNS = Path("runs")
_ENSEMBLE = "emotion"
_WRITTEN_BY_FIT = "result.json"

NOT_OFFERED = 1
"""Exit code of ``quantize`` when the int8 model loses too much."""

Data = Annotated[Path, typer.Argument(help="Dataset: a directory, a zip of one, or a CSV file.")]
Repository = Annotated[Path, typer.Option(help="Model repository that --release looks in.")]
Ensemble = Annotated[str, typer.Option(help="Ensemble that the number of a release is one of.")]


class SplitName(StrEnum):
    """Which faces to measure on."""

    train = "train"
    validation = "validation"
    test = "test"


Measured = Annotated[SplitName, typer.Option(help="Faces to measure on; 'test' is for one measurement at the end.")]


def evaluate(
    data: Data,
    onnx: Annotated[Path | None, typer.Option(help="An exported ONNX classifier.")] = None,
    release: Annotated[int | None, typer.Option(help="A release of the repository; release 1 by default.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A Keras weights file, with --network.")] = None,
    network: Annotated[str | None, typer.Option(help="Network of --weights; a run's own by default.")] = None,
    repository: Repository = _REPOSITORY,
    ensemble: Ensemble = _ENSEMBLE,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; the run's, or one in runs/.")] = None,
    split: Measured = SplitName.validation,
    held_out: Annotated[
        float | None,
        typer.Option(min=0, max=0.5, help="Share of the training faces for the temperature; a run's own, else 0.1."),
    ] = None,
    robustness: Annotated[bool, typer.Option(help="Also measure spoiled faces: sixteen times the work.")] = True,
    seed: Annotated[int, typer.Option(help="Of the held-out faces and of the noise.")] = 0,
) -> None:
    """Measure a model: metrics, calibration, robustness, speed; writes a page, JSON and a model card."""
    if sum(given is not None for given in (onnx, release, weights)) > 1:
        message = "Give one of --onnx, --release and --weights."
        raise typer.BadParameter(message)
    from mien.contract import FACES
    from training.dataset import hold_out
    from training.evaluate import evaluate as measure
    from training.evaluate import take_split
    from training.report import write_report
    from training.robustness import CORRUPTIONS
    from training.run_record import read_run

    classifier = (
        _open_weights(weights, network)
        if weights
        else _open_onnx(onnx)
        if onnx
        else _open_release(repository, release, ensemble)
    )
    run = read_run(classifier.path.parent)
    dataset = _load(data, split, classifier.ensemble)
    share = held_out if held_out is not None else float(run.config.get("held_out", 0.1))
    evaluation = measure(
        classifier,
        dataset,
        split.value,
        held_out=hold_out(take_split(dataset, "train"), share, int(run.config.get("seed", seed)))[1] if share else None,
        corruptions=CORRUPTIONS if robustness and classifier.ensemble.input == FACES else (),
        seed=seed,
    )
    folder = out or _report_folder(classifier, split)
    pictures = dataset.splits[split].examples if classifier.ensemble.input == FACES else None
    page = write_report(folder, evaluation, pictures, run)
    _show(evaluation)
    typer.echo(f"Report: {page}")


def compare(
    first: Annotated[str, typer.Argument(help="A release's number, an ONNX file, or a training run's folder.")],
    second: Annotated[str, typer.Argument(help="What to hold against it.")],
    data: Data,
    repository: Repository = _REPOSITORY,
    ensemble: Ensemble = _ENSEMBLE,
    split: Measured = SplitName.validation,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare two models on the same faces: differences with 95 % intervals, and McNemar's test."""
    import json
    from dataclasses import asdict

    from training.comparison import compare as compare_answers
    from training.evaluate import pooled

    one, other = _open(first, repository, ensemble), _open(second, repository, ensemble)
    dataset = _load(data, split, one.ensemble)
    windows = dataset.splits[split]
    names = (one.name, other.name) if one.name != other.name else (first, second)
    examples, first_answers = pooled(windows, one.predict(windows.examples, names[0]))
    _, second_answers = pooled(windows, other.predict(windows.examples, names[1]))
    found = compare_answers(first_answers, second_answers, examples.labels, names=names, seed=seed)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "verdict": found.verdict}, indent=2))
        return
    for metric, gap in (("accuracy", found.accuracy), ("macro-F1", found.macro_f1)):
        interval = f"{gap.difference:+.4f}, {found.confidence:.0%} interval {gap.low:+.4f} to {gap.high:+.4f}"
        typer.echo(f"{metric}: {gap.first:.4f} and {gap.second:.4f} ({interval})")
    typer.echo(f"named right by {names[0]} alone: {found.only_first}, by {names[1]} alone: {found.only_second}")
    typer.echo(found.verdict)


def quantize(
    onnx: Annotated[Path, typer.Argument(help="The float32 classifier.")],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="The int8 file; beside the other, ….int8.onnx, by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of training faces for the ranges.")] = 0,
) -> None:
    """Make an int8 classifier for CPUs; exit code 1, and no file, if it loses half a point or more on validation."""
    from training.classifier import read_classifier
    from training.quantize import quantize as make

    ensemble = read_classifier(onnx)[1]
    dataset = _load(data, SplitName.validation, ensemble)
    made = make(onnx, dataset, out or onnx.with_suffix(".int8.onnx"), seed=seed, track=_track)
    typer.echo(made.verdict)
    if made.path is None:
        raise typer.Exit(NOT_OFFERED)


def _open(reference: str, repository: Path, ensemble: str) -> Classifier:
    if reference.isdecimal():
        return _open_release(repository, int(reference), ensemble)
    path = Path(reference)
    if path.is_dir():
        return _open_weights(path, None)
    return _open_onnx(path)


def _open_onnx(path: Path) -> Classifier:
    from training.classifier import open_onnx

    return open_onnx(path, track=_track)


def _open_release(repository: Path, release: int | None, ensemble: str) -> Classifier:
    from mien.contract import VARIANTS
    from training.classifier import open_release
    from training.errors import TrainingError

    known = {variant.name: variant for variant in VARIANTS}
    if ensemble not in known:
        message = f"There is no ensemble {ensemble!r}. There are: {', '.join(known)}."
        raise TrainingError(message)
    return open_release(repository, release or 1, _track, known[ensemble])


def _open_weights(path: Path, network: str | None) -> Classifier:
    """Weights from a file, or from the folder of a training run, which knows its network."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training.classifier import open_weights
    from training.errors import TrainingError
    from training.run_record import read_run

    folder = path if path.is_dir() else path.parent
    run = read_run(folder)
    name = network or run.network
    if name is None:
        message = f"{folder} does not say which network {path.name} belongs to. Name it with --network."
        raise TrainingError(message)
    return open_weights(folder / str(run.facts.get("weights", "")) if path.is_dir() else path, name, _track)


def _load(data: Path, split: SplitName, ensemble: EnsembleSpec) -> Dataset:
    from training.dataset import load
    from training.evaluate import take_split

    if split is SplitName.test:
        typer.echo("The test split is used once, for the figure that is published: choose no model by it.", err=True)
    typer.echo(f"Reading {data} …", err=True)
    dataset = load(data, ensemble)
    take_split(dataset, split)
    return dataset


def _report_folder(classifier: Classifier, split: SplitName) -> Path:
    folder = classifier.path.parent
    if (folder / _WRITTEN_BY_FIT).exists():
        return folder
    name = classifier.name if classifier.name.startswith("release ") else classifier.path.stem
    return _RUNS / f"{name.replace(' ', '-')}-{split.value}"


def _show(evaluation: Evaluation) -> None:
    report = evaluation.report
    typer.echo(f"{evaluation.model} on {report.examples:,} {evaluation.split} examples of {evaluation.dataset}:")
    typer.echo(
        f"accuracy {report.accuracy:.4f}, macro-F1 {report.macro_f1:.4f}, macro recall {report.macro_recall:.4f}, "
        f"calibration error {report.ece:.3f}"
    )
    for one in report.classes:
        recall, f1 = ("-" if value is None else f"{value:.3f}" for value in (one.recall, one.f1))
        typer.echo(f"  {one.label:<9} precision {one.precision:.3f}  recall {recall}  F1 {f1}  examples {one.support}")
    if evaluation.footprint:
        times = ", ".join(f"{one.p50_ms:.2f} ms for {one.batch_size}" for one in evaluation.footprint.latency)
        typer.echo(f"{evaluation.footprint.file_bytes / 1e6:.2f} MB; one thread: {times} (p50)")
    if evaluation.temperature:
        typer.echo(evaluation.temperature.verdict)


def _track(steps: Sequence[int], task: str) -> Iterable[int]:
    from rich.progress import track

    console = _stderr()
    # Where nobody watches, a bar would fill the log with empty lines.
    return track(steps, task, console=console, transient=True) if console.is_terminal else steps


@functools.cache
def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
