"""Speakers left out in turn: what is refused, and that it can be repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mien.contract import SPEECH_EMOTION
from tests.unit.training.voices import write_emodb
from training.config import Config, load_config
from training.dataset import load
from training.draws import Draw
from training.errors import DatasetError, TrainingError
from training.folds import leave_one_speaker_out
from training.report import write_report
from training.speech_augmentation import SpeechAugmentation

if TYPE_CHECKING:
    from pathlib import Path

    from training.evaluate import Evaluation

SPEAKERS = ("03", "08", "09")


def short() -> Config:
    return replace(load_config("speech_linear"), epochs=2, batch_size=14, augmentation=SpeechAugmentation(copies=1))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_emodb(tmp_path_factory.mktemp("recordings") / "emodb.zip", SPEAKERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def measured(recordings: Path, folder: Path) -> Evaluation:
    """What one seed gives, in `folder`."""
    return leave_one_speaker_out(short(), load(recordings, SPEECH_EMOTION), folder)


def test_a_recipe_that_chooses_an_epoch_is_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)

    with pytest.raises(TrainingError, match="keep='last'"):
        leave_one_speaker_out(replace(short(), keep="best"), dataset, tmp_path)


def test_recordings_whose_speakers_are_unknown_are_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)
    unknown = replace(dataset, splits={name: replace(split, speakers=()) for name, split in dataset.splits.items()})

    with pytest.raises(DatasetError, match="does not say who speaks"):
        leave_one_speaker_out(short(), unknown, tmp_path)


def test_two_runs_give_the_same_figures(measured: Evaluation, recordings: Path, tmp_path: Path) -> None:
    again = leave_one_speaker_out(short(), load(recordings, SPEECH_EMOTION), tmp_path)

    assert again.report == measured.report
    assert again.sha256 == measured.sha256


def test_further_seeds_give_a_spread_and_leave_the_first_as_it_is(
    measured: Evaluation, folder: Path, recordings: Path
) -> None:
    before = (folder / "all" / "result.json").stat()

    both = leave_one_speaker_out(short(), load(recordings, SPEECH_EMOTION), folder, seeds=2)

    assert (measured.draws, measured.spreads) == ((), {})
    assert both.report == measured.report
    assert both.draws[0] == Draw.of(0, measured.report)
    assert both.draws[1].seed == 1
    assert both.draws[1].nll != both.draws[0].nll
    assert json.loads((folder / "seed-1" / "without-03" / "result.json").read_text())["config"]["seed"] == 1
    assert (folder / "all" / "result.json").stat() == before  # what is finished is not done again
    write_report(folder, both)
    spread = json.loads((folder / "metrics.json").read_text())["spreads"]["nll"]
    assert spread["mean"] == pytest.approx((both.draws[0].nll + both.draws[1].nll) / 2)
    assert spread["lowest"] == min(draw.nll for draw in both.draws)
