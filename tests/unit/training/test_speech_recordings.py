"""Recordings in the forms in which people have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien.contract import SPEECH_EMOTION, SPEECH_LABELS
from tests.unit.training.voices import voice, wav, write_emodb
from training import recordings
from training.dataset import by_speaker, load
from training.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from training.reading import Reading


def found(reading: Reading) -> dict[str, tuple[str, str]]:
    return {example.name: (example.label, example.speaker) for example in reading.examples}


def write(root: Path, names: dict[str, bytes]) -> Path:
    for name, content in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("name", "label", "speaker"),
    [
        ("03a01Wa.wav", "angry", "03"),
        ("16b10Lb.wav", "boredom", "16"),
        ("03-01-05-01-02-01-12.wav", "angry", "12"),
        ("03-01-01-01-02-01-07.wav", "neutral", "07"),
        ("1001_DFA_FEA_XX.wav", "fear", "1001"),
        ("anna/sad/one.wav", "sad", "anna"),
        ("train/happy/one.wav", "happy", ""),
    ],
)
def test_label_and_speaker_come_from_the_name(tmp_path: Path, name: str, label: str, speaker: str) -> None:
    root = write(tmp_path, {name: wav(voice(120, 2))})

    assert found(recordings.read(root)) == {name: (label, speaker)}


def test_a_table_names_label_speaker_and_split(tmp_path: Path) -> None:
    table = b"file,emotion,actor,usage\nx/1.wav,Angry,Ben,test\n"
    root = write(tmp_path, {"list.csv": table, "x/1.wav": wav(voice(120, 2))})

    (one,) = recordings.read(root).examples

    assert (one.name, one.label, one.speaker, one.split) == ("x/1.wav", "angry", "Ben", "test")


def test_emotions_that_the_contract_lacks_are_left_out_with_a_note(tmp_path: Path) -> None:
    kept, calm = "03-01-04-01-02-01-12.wav", "03-01-02-01-02-01-12.wav"
    reading = recordings.read(write(tmp_path, {kept: wav(voice(120, 2)), calm: wav(voice(120, 2))}))

    assert list(found(reading)) == [kept]
    assert [problem.message for problem in reading.problems()] == ["1 recordings of calm are left out."]


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (96_000, 1)])
def test_any_rate_and_any_channels_become_one_channel_at_16_khz(rate_hz: int, channels: int) -> None:
    samples = voice(200, 2, 1.0, rate_hz)
    decoded = recordings.decode(wav(np.stack([samples] * channels, axis=1), rate_hz))

    expected = voice(200, 2)
    length = min(len(decoded), len(expected))
    assert abs(len(decoded) - len(expected)) <= 320
    assert np.corrcoef(decoded[:length], expected[:length])[0, 1] > 0.99


def test_silence_at_both_ends_is_taken_off() -> None:
    quiet = np.zeros(8_000, np.float32)
    speech = recordings.trim(np.concatenate([quiet, voice(150, 1), quiet]))

    assert 16_000 - 320 <= len(speech) <= 16_000 + 640


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no sound at all", "recognised|unknown|Error"),
        (wav(np.zeros(16_000, np.float32)), "0.00 s of sound"),
        (wav(voice(150, 1, 0.1)), "0.10 s of sound"),
    ],
)
def test_what_cannot_be_trained_on_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    root = write(tmp_path, {"anna/sad/bad.wav": content, "anna/sad/good.wav": wav(voice(150, 1))})

    (problem,) = recordings.read(root).problems()

    assert problem.fatal
    assert problem.message.startswith("1 unreadable: anna/sad/bad.wav: ")
    assert any(part in problem.message for part in reason.split("|"))


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no recordings"):
        recordings.read(tmp_path)


def test_windows_cover_a_long_recording_to_its_end() -> None:
    samples = np.arange(16_000 * 5, dtype=np.float32)

    cut = recordings.windows(samples)

    assert cut[:, 0].tolist() == [0, 24_000, 32_000]
    assert cut[-1, -1] == samples[-1]
    assert recordings.windows(samples[:100])[0, 100:].max() == 0


def test_validation_is_of_speakers_that_are_not_trained_on(tmp_path: Path) -> None:
    dataset = load(write_emodb(tmp_path / "emodb.zip", ["03", "08", "09"]), SPEECH_EMOTION)

    assert dataset.labels == SPEECH_LABELS
    assert len(set(dataset.validation.speakers)) == 1
    assert not set(dataset.train.speakers) & set(dataset.validation.speakers)
    kept, held = by_speaker(dataset.train, {dataset.train.speakers[0]})
    assert not set(kept.speakers) & set(held.speakers)
    assert len(kept) + len(held) == len(dataset.train)
