"""Speakers left out in turn: what is refused, and that it can be repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mien.contract import SPEECH_EMOTION
from tests.unit.training.voices import write_emodb
from training.config import Config, load_config
from training.dataset import load
from training.errors import DatasetError, TrainingError
from training.folds import leave_one_speaker_out
from training.speech_augmentation import SpeechAugmentation

if TYPE_CHECKING:
    from pathlib import Path

SPEAKERS = ("03", "08", "09")


def short() -> Config:
    return replace(load_config("speech_linear"), epochs=2, batch_size=14, augmentation=SpeechAugmentation(copies=1))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_emodb(tmp_path_factory.mktemp("recordings") / "emodb.zip", SPEAKERS)


def test_a_recipe_that_chooses_an_epoch_is_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)

    with pytest.raises(TrainingError, match="keep='last'"):
        leave_one_speaker_out(replace(short(), keep="best"), dataset, tmp_path)


def test_recordings_whose_speakers_are_unknown_are_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)
    unknown = replace(dataset, splits={name: replace(split, speakers=()) for name, split in dataset.splits.items()})

    with pytest.raises(DatasetError, match="does not say who speaks"):
        leave_one_speaker_out(short(), unknown, tmp_path)


def test_two_runs_give_the_same_figures(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)

    first, again = (leave_one_speaker_out(short(), dataset, tmp_path / run) for run in ("first", "again"))

    assert first.report == again.report
    assert first.sha256 == again.sha256
