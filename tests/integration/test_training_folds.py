"""Speakers left out in turn, on made voices: who is measured, what decides nothing, what is released, what agrees."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.contract import SPEECH_EMOTION
from serving.repository import ModelRepository
from tests.unit.training.voices import write_emodb
from training.cli import app
from training.config import Config, load_config
from training.dataset import load
from training.errors import DatasetError, TrainingError
from training.folds import ALL_VOICES, leave_one_speaker_out

if TYPE_CHECKING:
    from pathlib import Path

SPEAKERS = ("03", "08", "09")


def short() -> Config:
    return replace(load_config("speech_crnn"), epochs=1, warmup_epochs=0, batch_size=14, ema=None)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_emodb(tmp_path_factory.mktemp("recordings") / "emodb.zip", SPEAKERS)


def test_every_recording_is_answered_by_a_network_that_has_not_heard_its_speaker(
    recordings: Path, tmp_path: Path
) -> None:
    dataset = load(recordings, SPEECH_EMOTION)
    told: list[str] = []

    evaluation = leave_one_speaker_out(short(), dataset, tmp_path / "first", told.append)

    assert evaluation.report.examples == 42
    assert [one.speaker for one in evaluation.speakers] == list(SPEAKERS)
    assert any("Speaker 08 is left out (2 of 3)" in line for line in told)
    fitted = [json.loads((tmp_path / "first" / f"without-{who}" / "result.json").read_text()) for who in SPEAKERS]
    assert len({run["dataset"]["digest"] for run in fitted}) == 3

    again = leave_one_speaker_out(short(), dataset, tmp_path / "second")
    assert again.report == evaluation.report

    repository = tmp_path / "repository"
    weights = str(tmp_path / "first" / ALL_VOICES)
    result = CliRunner().invoke(app, ["export", "--weights", weights, "--repository", str(repository)])
    assert result.exit_code == 0, result.output
    manifest = ModelRepository(repository).verify_release(SPEECH_EMOTION, 1)
    assert manifest.labels == SPEECH_EMOTION.labels
    assert manifest.metrics["validation_macro_recall"] == pytest.approx(evaluation.report.macro_recall, abs=1e-4)
    assert np.isclose(sum(manifest.metrics[f"validation_predicted_{name}"] for name in manifest.labels), 1, atol=0.01)


def test_a_recipe_that_chooses_an_epoch_is_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)

    with pytest.raises(TrainingError, match="keep='last'"):
        leave_one_speaker_out(replace(short(), keep="best"), dataset, tmp_path)


def test_recordings_whose_speakers_are_unknown_are_refused(recordings: Path, tmp_path: Path) -> None:
    dataset = load(recordings, SPEECH_EMOTION)
    unknown = replace(dataset, splits={name: replace(split, speakers=()) for name, split in dataset.splits.items()})

    with pytest.raises(DatasetError, match="does not say who speaks"):
        leave_one_speaker_out(short(), unknown, tmp_path)
