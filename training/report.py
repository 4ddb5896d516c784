"""An evaluation as files: a page for people, JSON for machines, a model card."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from training import plots
from training.run_record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from training.evaluate import Evaluation

REPORT_FILE = "report.html"
METRICS_FILE = "metrics.json"
CARD_FILE = "model-card.md"

SCHEMA = 1
"""Version of the format of ``metrics.json``."""


def write_report(
    folder: Path, evaluation: Evaluation, images: NDArray[Any] | None = None, run: RunRecord | None = None
) -> Path:
    """Write ``report.html``, ``metrics.json`` and ``model-card.md`` into `folder`.

    The page holds its plots, so it can be sent as it is; it shows faces of the dataset if `images` is given. Each file
    is written beside its place and then renamed: a reader never sees half of one.

    Args:
        folder: made if it is not there; files of these names are replaced.
        evaluation: what to report.
        images: (N, 48, 48, 1) uint8, the faces of the evaluated split, for its worst mistakes.
        run: what the training run left; its parts may be missing.

    Returns:
        The page's path.
    """
    run = run or RunRecord()
    environment = _environment()
    values: dict[str, Any] = {"evaluation": evaluation, "run": run, "command": _command(evaluation)}
    page = environment.get_template("report.html.j2").render(figures=_figures(evaluation, images, run), **values)
    card = environment.get_template("model-card.md.j2").render(**values)
    metrics = json.dumps({"schema": SCHEMA, **evaluation.as_json(), "run": _run_json(run)}, indent=2, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".report-") as staging:
        for name, text in ((METRICS_FILE, metrics + "\n"), (CARD_FILE, card), (REPORT_FILE, page)):
            Path(staging, name).write_text(text, encoding="utf-8")
            Path(staging, name).replace(folder / name)
    return folder / REPORT_FILE


def _figures(evaluation: Evaluation, images: NDArray[Any] | None, run: RunRecord) -> dict[str, str]:
    """Plots by name, as data URIs; what was not measured has none."""
    report, fit = evaluation.report, evaluation.temperature
    figures = {
        "confusion": _svg_uri(plots.confusion(report)),
        "per_class": _svg_uri(plots.per_class(report)),
        "reliability": _svg_uri(
            plots.reliability(report.reliability, fit.after, fit.temperature)
            if fit
            else plots.reliability(report.reliability)
        ),
    }
    if evaluation.robustness:
        figures["robustness"] = _svg_uri(plots.robustness(evaluation.robustness, report.accuracy))
    if {"loss", "accuracy", "val_loss", "val_accuracy"} & run.history.keys():
        figures["curves"] = _svg_uri(plots.curves(run.history))
    if evaluation.mistakes and images is not None:
        faces = images[[mistake.row for mistake in evaluation.mistakes]]
        figures["mistakes"] = _uri("image/png", plots.mistakes(faces, evaluation.mistakes))
    return figures


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["share"] = lambda value, digits=3: "-" if value is None else f"{value:.{digits}f}"
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment


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


def _svg_uri(svg: bytes) -> str:
    return _uri("image/svg+xml", svg)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
