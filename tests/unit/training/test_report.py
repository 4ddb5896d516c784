"""The report as its readers find it: a page that stands alone, JSON, a card; with parts missing, too."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from mien.contract import EMOTION_LABELS
from training import report as report_module
from training.calibration import TemperatureFit
from training.draws import Draw
from training.evaluate import Evaluation, Mistake
from training.footprint import Footprint, Latency
from training.metrics import classification_report
from training.report import write_report
from training.robustness import RobustnessPoint
from training.run_record import RunRecord

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 300)
    probabilities = rng.dirichlet(np.ones(7), 300)
    probabilities[np.arange(300), labels] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Evaluation(
        model="<b>mine</b>",
        kind="ONNX",
        sha256="a" * 64,
        dataset="faces",
        digest="d" * 64,
        split="validation",
        report=classification_report(probabilities, labels, EMOTION_LABELS),
        temperature=TemperatureFit.of((probabilities, labels), (probabilities, labels)),
        robustness=(RobustnessPoint("blur", "pixels", 1.0, 0.5), RobustnessPoint("blur", "pixels", 2.0, 0.25)),
        footprint=Footprint(4_700_000, 1_173_479, 1, (Latency(1, 1.25, 1.5, 100), Latency(64, 64.0, 70.0, 20))),
        mistakes=(Mistake(3, "train/fear/1.png", "fear", "angry", 0.97),),
        environment={"revision": "0123abc", "python": "3.11.7", "packages": {"onnxruntime": "1.31.1"}},
        machine="2 cores, a processor",
        created_at="2026-11-21T04:52:52+00:00",
    )


class Page(HTMLParser):
    """What a browser would fetch, and what a reader would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_shows_every_plot(evaluation: Evaluation, tmp_path: Path) -> None:
    run = RunRecord(network="vgg_half", config={"epochs": 2}, history={"loss": [2.0, 1.0], "val_accuracy": [0.3, 0.5]})

    page = Page(write_report(tmp_path, evaluation, np.zeros((300, 48, 48, 1), np.uint8), run).read_text())

    assert len(page.sources) == 6
    for source in page.sources:
        kind, data = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", source).groups()  # type: ignore[union-attr]
        picture = base64.b64decode(data)
        if kind == "png":
            assert picture.startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_the_page_names_where_it_comes_from(evaluation: Evaluation, tmp_path: Path) -> None:
    run = RunRecord(config={"epochs": 17}, dataset={"name": "other faces", "digest": "e" * 64})

    page = Page(write_report(tmp_path, evaluation, run=run).read_text())

    for fact in ("a" * 64, "d" * 64, "e" * 64, "0123abc", "onnxruntime 1.31.1", "2 cores, a processor", '"epochs": 17'):
        assert fact in page.text
    assert "<b>mine</b>" in page.text  # a name is shown, never read as markup


def test_the_json_holds_every_figure(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path, evaluation, run=RunRecord(facts={"best_epoch": 3}))

    values = json.loads((tmp_path / "metrics.json").read_text())

    assert values["report"]["accuracy"] == evaluation.report.accuracy
    assert len(values["report"]["confusion"]) == 7
    assert values["temperature"]["verdict"]
    assert values["footprint"]["latency"][1]["p50_ms"] == 64.0
    assert values["run"]["best_epoch"] == 3


def test_what_was_not_measured_is_left_out(evaluation: Evaluation, tmp_path: Path) -> None:
    bare = replace(evaluation, temperature=None, robustness=(), footprint=None, mistakes=(), kind="Keras weights")

    page = Page(write_report(tmp_path, bare).read_text())
    card = (tmp_path / "model-card.md").read_text()

    assert len(page.sources) == 3
    assert "Robustness" not in page.text
    assert "No temperature was fitted" in page.text
    assert f"| {bare.report.accuracy:.4f} |" in card
    assert "--weights" in card


def test_several_seeds_have_a_table_with_mean_and_deviation(evaluation: Evaluation, tmp_path: Path) -> None:
    draws = (Draw(3, 0.76, 0.78, 0.75, 0.12, 0.8), Draw(4, 0.74, 0.76, 0.73, 0.10, 0.7))

    page = Page(write_report(tmp_path, replace(evaluation, draws=draws)).read_text())

    card = (tmp_path / "model-card.md").read_text()
    assert "| 4 | 0.7400 | 0.7600 | 0.7300 | 0.100 | 0.700 |" in card
    assert "| mean | 0.7500 | 0.7700 | 0.7400 | 0.110 | 0.750 |" in card
    assert "| deviation | 0.0141 |" in card
    assert "All else on this page is of seed 3." in page.text
    assert "0.0141" in page.text
    assert json.loads((tmp_path / "metrics.json").read_text())["spreads"]["macro_recall"]["highest"] == 0.76


def test_a_report_is_replaced_as_a_whole(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, evaluation)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(report_module.plots, "confusion", lambda report: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, replace(evaluation, model="another"))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert before.keys() == {"report.html", "metrics.json", "model-card.md"}


@pytest.mark.parametrize("history", [{}, {"loss": [1.0]}, {"val_accuracy": [0.1, 0.2]}, {"seconds": [3.0]}])
def test_a_history_may_lack_any_figure(evaluation: Evaluation, tmp_path: Path, history: dict[str, list[float]]) -> None:
    page = Page(write_report(tmp_path, evaluation, run=RunRecord(history=history)).read_text())

    assert ("Training" in page.text) == bool({"loss", "val_accuracy"} & history.keys())
