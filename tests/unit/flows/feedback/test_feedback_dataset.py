"""Datasets of a base and corrections, of faces and of speech, read as a training would read them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from flows.feedback.dataset import KEPT, FeedbackDatasets
from flows.feedback.forms import form_of
from mien.contract import EMOTION, SAMPLE_RATE_HZ, SPEECH_EMOTION
from tests.unit.training.faces import picture, png, write_tree, zipped
from tests.unit.training.voices import voice, wav, write_emodb
from training import recordings, sources
from training.dataset import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from training.dataset import Dataset

IDS = [f"{number:032x}" for number in range(3)]


@dataclass(frozen=True)
class Modality:
    """Faces or speech.

    Attributes:
        ensemble: that is about them.
        write: makes a base dataset below a folder.
        given: a correction, as the feedback store keeps it.
        row: what a training reads of it.
        label: of all corrections.
    """

    ensemble: EnsembleSpec
    write: Callable[[Path], Path]
    given: Callable[[int], bytes]
    row: Callable[[bytes], NDArray[Any]]
    label: str

    def corrections(self) -> dict[str, tuple[str, bytes]]:
        form = form_of(self.ensemble)
        return {one: (self.label, form.correction(self.given(number))) for number, one in enumerate(IDS)}


def voices(folder: Path) -> Path:
    """Recordings of three speakers, one of them longer than a window."""
    path = write_emodb(folder / "base.zip", ["03", "08", "09"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("wav/03a02Wa.wav", wav(voice(130, 3, 5.3)))
    return path


def said(number: int) -> bytes:
    with io.BytesIO() as file:
        soundfile.write(file, voice(90 + 10 * number, 2, 1.5), SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
        return file.getvalue()


FACES = Modality(
    EMOTION,
    lambda folder: zipped(write_tree(folder / "base")),
    lambda number: png(np.dstack([picture(500 + number, 96)] * 3)),
    lambda content: sources.decode(content)[0][..., None],
    "disgust",
)
SPEECH = Modality(
    SPEECH_EMOTION, voices, said, lambda content: recordings.windows(recordings.decode(content))[0], "boredom"
)


@pytest.fixture(params=[FACES, SPEECH], ids=["faces", "speech"])
def modality(request: pytest.FixtureRequest) -> Modality:
    found: Modality = request.param
    return found


@pytest.fixture
def datasets(tmp_path: Path, modality: Modality) -> FeedbackDatasets:
    return opened(tmp_path, modality)


def opened(folder: Path, modality: Modality) -> FeedbackDatasets:
    datasets = FeedbackDatasets(folder / "datasets", form_of(modality.ensemble))
    with datasets.alone():
        return datasets


@pytest.fixture
def source(tmp_path: Path, modality: Modality) -> Path:
    return modality.write(tmp_path)


@pytest.fixture
def base(source: Path, modality: Modality) -> Dataset:
    return load(source, modality.ensemble)


def test_corrections_are_trained_with_as_often_as_they_weigh_and_never_validated_with(
    datasets: FeedbackDatasets, base: Dataset, source: Path, modality: Modality
) -> None:
    built = load(datasets.build(base, source, modality.corrections(), weight=3), modality.ensemble)
    assert len(built.train) == len(base.train) + 3 * 3
    assert built.validation.labels.tolist() == base.validation.labels.tolist()
    assert built.validation.speakers == base.validation.speakers
    np.testing.assert_array_equal(built.validation.examples, base.validation.examples)
    rows = [row for row, name in enumerate(built.train.names) if IDS[1] in name]
    assert len(rows) == 3
    assert {built.labels[built.train.labels[row]] for row in rows} == {modality.label}
    np.testing.assert_array_equal(built.train.examples[rows[0]], modality.row(modality.given(1)))


def test_a_base_without_validation_faces_gets_none_of_the_corrections(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "train-only", per_class=10, splits=("train/Training",))
    base = load(source)
    built = load(opened(tmp_path, FACES).build(base, source, FACES.corrections(), weight=2))
    assert not any("feedback" in name for name in built.validation.names)
    np.testing.assert_array_equal(built.validation.examples, base.validation.examples)


def test_the_same_examples_without_corrections_are_the_same_dataset(
    datasets: FeedbackDatasets, base: Dataset, source: Path, modality: Modality
) -> None:
    built = load(datasets.build(base, source, {}, weight=2), modality.ensemble)
    assert built.digest == base.digest
    assert built.train.speakers == base.train.speakers


def test_what_is_erased_leaves_every_dataset(
    datasets: FeedbackDatasets, base: Dataset, source: Path, modality: Modality
) -> None:
    paths = [datasets.build(base, source, modality.corrections(), weight=2) for _ in range(2)]
    assert datasets.keep_only(IDS) == 0
    assert datasets.keep_only(IDS[1:]) == 2
    for path in paths:
        assert not [file for file in path.rglob("*") if IDS[0] in file.name]
        assert IDS[0] not in (path / "dataset.csv").read_text()
        assert len(load(path, modality.ensemble).train) == len(base.train) + 2 * 2


def test_only_the_newest_datasets_are_kept(
    datasets: FeedbackDatasets, base: Dataset, source: Path, tmp_path: Path
) -> None:
    paths = [datasets.build(base, source, {}, weight=1) for _ in range(KEPT + 2)]
    datasets.remove_old()
    assert datasets.paths() == paths[2:]
    assert sorted((tmp_path / "datasets").iterdir()) == [tmp_path / "datasets/.lock", *paths[2:]]


def test_a_dataset_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    datasets, source = opened(tmp_path, SPEECH), tmp_path / "unpacked"
    with zipfile.ZipFile(voices(tmp_path)) as archive:
        archive.extractall(source)
    base = load(source, SPEECH_EMOTION)
    last = sorted(source.rglob("*.wav"))[-1]
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(FileNotFoundError, match=last.name):
        datasets.build(base, source, {}, weight=1)
    assert datasets.paths() == []
    last.write_bytes(content)
    datasets.build(base, source, {}, weight=1)
    assert [path.name for path in (tmp_path / "datasets").glob(".feedback-*")] == []
