"""An evaluation as files: a page for people, JSON for machines, a model card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from training import page, plots
from training.run_record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from training.evaluate import Evaluation

REPORT_FILE = "report.html"
METRICS_FILE = "metrics.json"
CARD_FILE = "model-card.md"

SCHEMA = 1
"""Version of the format of ``metrics.json``."""


def write_report(
    folder: Path,
    evaluation: Evaluation,
    images: NDArray[Any] | None = None,
    run: RunRecord | None = None,
    command: str | None = None,
) -> Path:
    """Write ``report.html``, ``metrics.json`` and ``model-card.md`` into `folder`.

    The page holds its plots, so it can be sent as it is; it shows faces of the dataset if `images` is given. Each file
    is written beside its place and then renamed: a reader never sees half of one.

    Args:
        folder: made if it is not there; files of these names are replaced.
        evaluation: what to report.
        images: (N, 48, 48, 1) uint8, the faces of the evaluated split, for its worst mistakes.
        run: what the training run left; its parts may be missing.
        command: what measures the same again; by default an evaluation of the model.

    Returns:
        The page's path.
    """
    run = run or RunRecord()
    environment = page.environment()
    values: dict[str, Any] = {"evaluation": evaluation, "run": run, "command": command or _command(evaluation)}
    report = environment.get_template("report.html.j2").render(figures=_figures(evaluation, images, run), **values)
    card = environment.get_template("model-card.md.j2").render(**values)
    metrics = json.dumps({"schema": SCHEMA, **evaluation.as_json(), "run": _run_json(run)}, indent=2, allow_nan=False)
    page.write_files(folder, {METRICS_FILE: metrics + "\n", CARD_FILE: card, REPORT_FILE: report})
    return folder / REPORT_FILE


def _figures(evaluation: Evaluation, images: NDArray[Any] | None, run: RunRecord) -> dict[str, str]:
    """Plots by name, as data URIs; what was not measured has none."""
    report, fit = evaluation.report, evaluation.temperature
    figures = {
        "confusion": page.svg_uri(plots.confusion(report)),
        "per_class": page.svg_uri(plots.per_class(report)),
        "reliability": page.svg_uri(
            plots.reliability(report.reliability, fit.after, fit.temperature)
            if fit
            else plots.reliability(report.reliability)
        ),
    }
    if evaluation.speakers:
        figures["per_speaker"] = page.svg_uri(plots.per_speaker(evaluation.speakers, report.macro_recall))
    if evaluation.robustness:
        figures["robustness"] = page.svg_uri(plots.robustness(evaluation.robustness, report.accuracy))
    if {"loss", "accuracy", "val_loss", "val_accuracy"} & run.history.keys():
        figures["curves"] = page.svg_uri(plots.curves(run.history))
    if evaluation.mistakes and images is not None:
        faces = images[[mistake.row for mistake in evaluation.mistakes]]
        figures["mistakes"] = page.uri("image/png", plots.mistakes(faces, evaluation.mistakes))
    return figures


def _command(evaluation: Evaluation) -> str:
    """What measures the same again, but for the paths, which differ from machine to machine."""
    name = evaluation.model
    model = f"--release {name.removeprefix('release ')}" if name.startswith("release ") else "--onnx MODEL"
    if evaluation.kind != "ONNX":
        model = "--weights WEIGHTS --network NETWORK"
    split = "" if evaluation.split == "validation" else f" --split {evaluation.split}"
    return f"python -m training evaluate DATA {model}{split}"


def _run_json(run: RunRecord) -> Mapping[str, Any]:
    return {"network": run.network, "config": run.config, "dataset": run.dataset, **run.facts}
