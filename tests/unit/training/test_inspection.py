"""The report on a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from tests.unit.training.faces import picture, png, write_tree
from training.cli import app
from training.inspection import inspect

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "faces")


def test_a_clean_dataset_has_counts_and_no_findings(tree: Path) -> None:
    inspection = inspect(tree)

    assert inspection.counts["train"] == dict.fromkeys(("angry", "disgust", "fear", "happy", "sad", "surprise"), 2) | {
        "neutral": 2
    }
    assert not inspection.problems
    assert not inspection.duplicates
    assert inspection.label_noise is None


def test_near_duplicates_across_splits_and_contradicting_labels_are_found(tree: Path) -> None:
    brighter = (picture(0).astype(int) * 9 // 10 + 20).astype("uint8")
    (tree / "test" / "angry" / "PublicTest_leak.png").write_bytes(png(brighter))
    (tree / "train" / "happy" / "Training_wrong.png").write_bytes(png(picture(2)))

    inspection = inspect(tree)

    assert [pair.names for pair in inspection.leaks] == [
        ("train/angry/Training_00000.png", "test/angry/PublicTest_leak.png")
    ]
    assert [pair.labels for pair in inspection.contradictions] == [("disgust", "happy")]
    assert inspection.label_noise == pytest.approx(0.25)


def test_the_command_prints_the_findings_and_the_digest(tree: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(tree)])

    assert result.exit_code == 0
    assert "train: 14 faces: angry 2" in result.output
    assert "near-duplicates: 0 pairs" in result.output
    assert f"digest: {inspect(tree).dataset.digest}" in result.output  # type: ignore[union-attr]


def test_the_command_fails_on_an_unusable_dataset(tree: Path) -> None:
    (tree / "train" / "sad" / "broken.png").write_text("x")

    result = CliRunner().invoke(app, ["inspect", str(tree)])

    assert result.exit_code == 6
    assert "error: 1 unreadable: train/sad/broken.png" in result.output
