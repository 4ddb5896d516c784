"""Speech of the development data through the SDK, the command line and a real Triton."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr

from mien import AsyncEmotionClient, ClientSettings, EmotionClient, contract
from tests.integration.test_video_triton import photographs
from tests.unit.mien.sounds import film

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from serving import TritonServer

pytestmark = [pytest.mark.integration, pytest.mark.data]

DEADLINE_S = 60.0
"""For each call: machines that run the tests are busy with others."""

LETTERS = {"W": "angry", "L": "boredom", "E": "disgust", "A": "fear", "F": "happy", "N": "neutral", "T": "sad"}
"""Sixth of a recording's name: the emotion, in German."""


@pytest.fixture(scope="module")
def recordings(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One recording of each emotion."""
    folder = tmp_path_factory.mktemp("recordings")
    found: dict[str, Path] = {}
    with zipfile.ZipFile(test_data / "data/emodb.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".wav") and LETTERS[name[-6]] not in found:
                path = folder / name.rpartition("/")[2]
                path.write_bytes(archive.read(name))
                found[LETTERS[name[-6]]] = path
    return found


@pytest.fixture(scope="module")
def settings(triton: TritonServer) -> ClientSettings:
    return ClientSettings(endpoints=triton.endpoint, deadline_s=DEADLINE_S, detector="haar")


def run(settings: ClientSettings, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "MIEN_ENDPOINTS": settings.endpoints[0],
        "MIEN_DEADLINE_S": str(DEADLINE_S),
        "MIEN_DETECTOR": settings.detector,
    }
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


async def test_sdk_and_command_line_name_every_emotion_alike(
    recordings: dict[str, Path], settings: ClientSettings
) -> None:
    assert set(recordings) == set(contract.SPEECH_LABELS)
    answer = run(settings, "audio", *recordings.values(), "--json")
    assert answer.returncode == 0, answer.stderr
    named = {}
    with EmotionClient(settings) as client:
        async with AsyncEmotionClient(settings) as other:
            for line, (label, path) in zip(answer.stdout.splitlines(), recordings.items(), strict=True):
                record = json.loads(line)
                samples, rate = soundfile.read(path, dtype="int16")
                recognition = client.recognize_speech(samples, rate)
                again = await other.recognize_speech(samples.astype(np.float32) / 2**15, rate)
                assert recognition.emotion is not None
                assert again.emotion is not None
                for one in (record["probabilities"], again.emotion.probabilities):
                    assert one == pytest.approx(recognition.emotion.probabilities, abs=2e-4)
                assert len(record["windows"]) == len(recognition.windows)
                named[label] = recognition.emotion.label
    print(f"\nsaid and named: {named}")
    # The release was trained with these: that it names most of them shows that it hears what training gave it.
    assert sum(label == name for label, name in named.items()) >= 5


def test_a_recording_sounds_the_same_at_every_rate(recordings: dict[str, Path], settings: ClientSettings) -> None:
    samples, rate = soundfile.read(recordings["sad"], dtype="float32")
    with EmotionClient(settings) as client:
        native = client.recognize_speech(samples, rate).emotion
        studio = soxr.resample(np.stack([samples, samples], 1), rate, 96_000)
        high = client.recognize_speech(studio, 96_000).emotion
    assert native is not None
    assert high is not None
    assert high.probabilities == pytest.approx(native.probabilities, abs=0.02)


def test_loud_and_quiet_recordings_are_named_alike(recordings: dict[str, Path], settings: ClientSettings) -> None:
    samples, rate = soundfile.read(recordings["angry"], dtype="float32")
    with EmotionClient(settings) as client:
        loud = client.recognize_speech(samples, rate).emotion
        quiet = client.recognize_speech(samples / 20, rate).emotion
        clipped = client.recognize_speech(np.clip(samples * 20, -1, 1), rate).emotion
    assert loud is not None
    assert quiet is not None
    assert clipped is not None
    assert quiet.probabilities == pytest.approx(loud.probabilities, abs=1e-3)


def test_a_video_of_photographs_with_speech_has_one_timeline(
    test_data: Path, recordings: dict[str, Path], settings: ClientSettings, tmp_path: Path
) -> None:
    happy, sad = photographs(test_data, ["happy", "sad"])
    blank = np.full_like(happy, 90)
    # 6 s each of a happy face and an angry voice, of a sad face alone, and of a voice alone.
    frames: list[NDArray[np.uint8]] = [happy] * 30 + [sad] * 30 + [blank] * 30
    voice = np.concatenate([_spoken(recordings["angry"]), np.zeros(96_000, np.float32), _spoken(recordings["sad"])])
    path = film(tmp_path / "talk.mp4", frames, 5, voice)
    answer = run(settings, "video", path, "--audio", "--csv", "-", "--json", tmp_path / "rows.jsonl")
    assert answer.returncode == 0, answer.stderr
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert [float(row["start_s"]) for row in rows[:12]] == [1.5 * index for index in range(12)]
    assert all(row["face_emotion"] and row["speech_emotion"] for row in rows[:3])
    assert all(row["face_emotion"] and not row["speech_emotion"] for row in rows[5:7])
    assert all(not row["face_emotion"] and row["speech_emotion"] for row in rows[9:11])
    assert rows[0]["face_emotion"] == "happy"
    assert rows[6]["emotion"] == rows[6]["face_emotion"]
    assert rows[10]["emotion"] == rows[10]["speech_emotion"]
    *moments, last = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(moments) == len(rows)
    whole = last["summary"]
    assert whole["face"]["emotion"]
    assert whole["speech"]["emotion"]
    assert sum(whole["fused"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert "surprise" in whole["fused"]["probabilities"]
    assert "boredom" in whole["fused"]["probabilities"]
    print(f"\n{answer.stderr.strip()}")


def _spoken(path: Path) -> NDArray[np.float32]:
    """6 s of 16 kHz: a recording, as often as it fits."""
    samples, rate = soundfile.read(path, dtype="float32")
    sound = soxr.resample(samples, rate, 16_000)
    return np.resize(sound, 96_000).astype(np.float32)
