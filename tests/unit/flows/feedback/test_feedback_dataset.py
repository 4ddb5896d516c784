"""Datasets of a base and corrections, read as a training would read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from flows.feedback.dataset import KEPT, FeedbackDatasets
from tests.unit.training.faces import picture, png, write_tree, zipped
from training.dataset import load
from training.sources import decode

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import Dataset

IDS = [f"{number:032x}" for number in range(3)]
FACES = {
    identifier: ("disgust", png(np.dstack([picture(500 + number, 96)] * 3))) for number, identifier in enumerate(IDS)
}


@pytest.fixture
def datasets(tmp_path: Path) -> FeedbackDatasets:
    datasets = FeedbackDatasets(tmp_path / "datasets")
    with datasets.alone():
        pass
    return datasets


@pytest.fixture
def base(tmp_path: Path) -> Dataset:
    return load(zipped(write_tree(tmp_path / "base")))


def test_corrections_are_trained_with_as_often_as_they_weigh_and_never_validated_with(
    datasets: FeedbackDatasets, base: Dataset
) -> None:
    built = load(datasets.build(base, FACES, weight=3))
    assert len(built.train) == len(base.train) + 3 * 3
    assert built.validation.labels.tolist() == base.validation.labels.tolist()
    np.testing.assert_array_equal(built.validation.examples, base.validation.examples)
    rows = [row for row, name in enumerate(built.train.names) if IDS[1] in name]
    assert len(rows) == 3
    assert {built.labels[built.train.labels[row]] for row in rows} == {"disgust"}
    np.testing.assert_array_equal(built.train.examples[rows[0], ..., 0], decode(FACES[IDS[1]][1])[0])


def test_a_base_without_validation_faces_gets_none_of_the_corrections(
    datasets: FeedbackDatasets, tmp_path: Path
) -> None:
    base = load(write_tree(tmp_path / "train-only", per_class=10, splits=("train/Training",)))
    built = load(datasets.build(base, FACES, weight=2))
    assert not any("feedback" in name for name in built.validation.names)
    np.testing.assert_array_equal(built.validation.examples, base.validation.examples)


def test_the_same_faces_without_corrections_are_the_same_dataset(datasets: FeedbackDatasets, base: Dataset) -> None:
    assert load(datasets.build(base, {}, weight=2)).digest == base.digest


def test_what_is_erased_leaves_every_dataset(datasets: FeedbackDatasets, base: Dataset) -> None:
    paths = [datasets.build(base, FACES, weight=2) for _ in range(2)]
    assert datasets.keep_only(IDS) == 0
    assert datasets.keep_only(IDS[1:]) == 2
    for path in paths:
        assert not [file for file in path.rglob("*") if IDS[0] in file.name]
        assert IDS[0] not in (path / "dataset.csv").read_text()
        assert len(load(path).train) == len(base.train) + 2 * 2


def test_only_the_newest_datasets_are_kept(datasets: FeedbackDatasets, base: Dataset, tmp_path: Path) -> None:
    paths = [datasets.build(base, {}, weight=1) for _ in range(KEPT + 2)]
    datasets.remove_old()
    assert datasets.paths() == paths[2:]
    assert sorted((tmp_path / "datasets").iterdir()) == [tmp_path / "datasets/.lock", *paths[2:]]


def test_a_dataset_is_there_whole_or_not_at_all(datasets: FeedbackDatasets, base: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="identify"):
        datasets.build(base, {IDS[0]: ("sad", b"no picture")}, weight=1)
    assert datasets.paths() == []
    datasets.build(base, FACES, weight=1)
    assert [path.name for path in (tmp_path / "datasets").glob(".feedback-*")] == []
