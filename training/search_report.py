"""What a search found, as files: a page for people, JSON for machines, and the best configuration ready to train."""

from __future__ import annotations

import json
import operator
from typing import TYPE_CHECKING, Any

from training import config_file, page, search_plots

if TYPE_CHECKING:
    from pathlib import Path

    from training.search import SearchResult

REPORT_FILE = "report.html"
SEARCH_FILE = "search.json"
BEST_FILE = "best.py"

SCHEMA = 1
"""Version of the format of ``search.json``."""


def write_search(directory: Path, result: SearchResult, data: str = "DATA") -> Path:
    """Write ``report.html``, ``search.json`` and ``best.py`` into `directory`; files of these names are replaced.

    Args:
        directory: the search's.
        result: what it found.
        data: the dataset as the commands in the page and in ``best.py`` name it.

    Returns:
        The page's path.
    """
    command = training_command(directory, data)
    html = (
        page.environment()
        .get_template("search.html.j2")
        .render(
            search=result,
            best=result.best,
            figures=_figures(result),
            command=command,
            base_values={field: operator.attrgetter(field)(result.base) for field in result.best.values},
            best_config=result.config.as_json(),
        )
    )
    texts = {
        SEARCH_FILE: json.dumps(_as_json(result), indent=2, allow_nan=False) + "\n",
        BEST_FILE: config_file.source(result.config, _docstring(result, command)),
        REPORT_FILE: html,
    }
    page.write_files(directory, texts)
    return directory / REPORT_FILE


def training_command(directory: Path, data: str = "DATA") -> str:
    """What trains the best configuration in full."""
    return f"python -m training fit {data} --config {directory / BEST_FILE}"


def _figures(result: SearchResult) -> dict[str, str]:
    figures = {
        "history": search_plots.history(result.trials),
        "curves": search_plots.curves(result.trials, result.best),
        "slices": search_plots.slices(result.trials, result.space.parameters),
    }
    if result.importances:
        figures["importances"] = search_plots.importances(result.importances)
    return {name: page.svg_uri(svg) for name, svg in figures.items()}


def _as_json(result: SearchResult) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "best": {"trial": result.best.number, "accuracy": result.best.accuracy, "config": result.config.as_json()},
        "trials": [{**vars(trial), "epochs": len(trial.curve)} for trial in result.trials],
        "importances": result.importances,
        "space": result.space.as_json(),
        "base": result.base.as_json(),
        "epochs": result.epochs,
        "seed": result.seed,
        "dataset": result.dataset,
        "backend": result.backend,
        "environment": result.environment,
        "machine": result.machine,
        "created_at": result.created_at,
    }


def _docstring(result: SearchResult, command: str) -> str:
    best, dataset = result.best, result.dataset
    return (
        f"Trial {best.number}, the best of a search of {len(result.trials)}. To train it in full:\n\n"
        f"    {command}\n\n"
        f"It reached {best.accuracy:.4f} on the validation split in {result.epochs} epochs on\n"
        f"{dataset['train_faces']:,} faces of {dataset['name']} (digest {dataset['digest'][:16]}).\n"
        "Trained in full it has not been measured."
    )
