"""A search's files as their readers find them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from tests.unit.training.test_report import Page
from training import search_plots
from training.config import Config
from training.config_file import open_config
from training.search import SearchResult
from training.search_report import write_search
from training.space import Choice, Float, Space
from training.trials import Trial

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {"learning_rate": 0.05, "augmentation.mixup": 0.2}


@pytest.fixture
def result() -> SearchResult:
    return SearchResult(
        base=Config("vgg_small", epochs=9, learning_rate=0.1),
        space=Space({"learning_rate": Float(0.01, 0.3, log=True), "augmentation.mixup": Choice((0.0, 0.2))}),
        epochs=3,
        seed=0,
        dataset={"name": "<b>faces</b>", "digest": "d" * 64, "train_faces": 2100, "validation_faces": 3589},
        trials=(
            Trial(0, "complete", {"learning_rate": 0.1, "augmentation.mixup": 0.0}, 0.31, (0.2, 0.31, 0.3), 12.0),
            Trial(1, "failed", VALUES, 0.25, (0.25,), 4.0),
            Trial(2, "complete", VALUES, 0.42, (0.25, 0.4, 0.42), 12.0, retry_of=1),
            Trial(3, "pruned", {"learning_rate": 0.2, "augmentation.mixup": 0.0}, 0.1, (0.1,), 4.0),
            Trial(4, "failed", {"learning_rate": 0.3}, None, (), 0.0, error="MemoryError: full"),
        ),
        importances={"learning_rate": 0.8, "augmentation.mixup": 0.2},
        backend="jax",
        environment={"revision": "0123abc", "python": "3.11.7", "packages": {"optuna": "5.0.0"}},
        machine="2 cores, a processor",
        created_at="2026-11-21T04:52:52+00:00",
    )


def test_the_page_stands_alone_and_tells_everything(result: SearchResult, tmp_path: Path) -> None:
    page = Page(write_search(tmp_path, result, "faces.zip").read_text())

    assert len(page.sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    for fact in ("0.4200", "2 (again 1)", "interrupted", "MemoryError: full", "d" * 64, "0123abc", "optuna 5.0.0"):
        assert fact in page.text
    assert f"python -m training fit faces.zip --config {tmp_path}/best.py" in page.text
    assert "<b>faces</b>" in page.text  # a name is shown, never read as markup


def test_the_best_configuration_is_the_base_with_the_best_values_in_full_length(
    result: SearchResult, tmp_path: Path
) -> None:
    write_search(tmp_path, result)

    config = open_config(str(tmp_path / "best.py"))

    assert (config.epochs, config.learning_rate, config.augmentation.mixup) == (9, 0.05, 0.2)
    assert "It reached 0.4200" in (tmp_path / "best.py").read_text()


def test_the_json_holds_every_trial(result: SearchResult, tmp_path: Path) -> None:
    write_search(tmp_path, result)

    found = json.loads((tmp_path / "search.json").read_text())

    assert found["best"]["trial"] == 2
    assert [trial["state"] for trial in found["trials"]] == ["complete", "failed", "complete", "pruned", "failed"]
    assert found["trials"][2]["values"] == VALUES
    assert found["trials"][2]["epochs"] == 3
    assert found["dataset"]["digest"] == "d" * 64


def test_one_trial_makes_a_report_without_importances(result: SearchResult, tmp_path: Path) -> None:
    page = Page(write_search(tmp_path, replace(result, trials=result.trials[:1], importances={})).read_text())

    assert len(page.sources) == 3


def test_plots_are_drawings_whatever_the_trials(result: SearchResult) -> None:
    for svg in (search_plots.history(result.trials), search_plots.slices(result.trials, result.space.parameters)):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
