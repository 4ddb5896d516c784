from __future__ import annotations

import csv
import io
import json
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mien.records import MOMENT_COLUMNS, SPEECH_COLUMNS
from tests.unit.mien.conftest import PORTRAIT
from tests.unit.mien.sounds import RATE, film, tone, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.unit.mien.command_line import Mien
    from tests.unit.mien.scripted_triton import ScriptedTriton

HAPPY, SAD = 0.4, 0.6
"""Loudness that the scripted server takes for those."""


@pytest.fixture
def server(scripted: ScriptedTriton) -> list[str]:
    return ["--endpoint", scripted.endpoint]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_table_has_a_line_for_each_recording(
    mien: Mien, server: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happy = written(tmp_path / "happy.wav", np.stack([tone(2, loudness=HAPPY)] * 2, 1))
    sad = written(tmp_path / "sad.flac", tone(7, 96_000, SAD), 96_000)
    phone = written(tmp_path / "phone.wav", tone(0.2, 8_000, HAPPY), 8_000)
    silence = written(tmp_path / "silence.wav", np.zeros(2 * RATE, np.int16))
    monkeypatch.chdir(tmp_path)
    names = [path.name for path in (happy, sad, phone, silence)]
    code, out, err = mien("audio", *names, *server)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1:] == [
        "happy.wav 2.0 happy 100% 1 3",
        "sad.flac 7.0 sad 100% 4 3",
        "phone.wav 0.2 happy 100% 1 3",
        "silence.wav 2.0 silence - 1 -",
    ]


def test_csv_has_a_line_for_each_window_with_its_times(mien: Mien, server: list[str], tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", np.concatenate([tone(3, loudness=HAPPY), np.zeros(3 * RATE, np.float32)]))
    code, out, _ = mien("audio", path, "--csv", "-", *server)
    assert code == 0
    rows = rows_of(out)
    assert list(rows[0]) == ["file", *SPEECH_COLUMNS]
    assert [(row["start_s"], row["end_s"], row["emotion"]) for row in rows] == [
        ("0.0", "3.0", "happy"),
        ("1.5", "4.5", "happy"),
        ("3.0", "6.0", ""),
    ]
    assert rows[0]["happy"] == "1.0"
    assert rows[2]["happy"] == rows[2]["model_version"] == ""
    assert len(rows_of(mien("audio", path, "--csv", "-", "--hop", "3", *server)[1])) == 2


def test_a_bad_file_among_several_loses_nothing(mien: Mien, server: list[str], tmp_path: Path) -> None:
    good = written(tmp_path / "good.wav", tone(1, loudness=HAPPY))
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    cut = written(tmp_path / "cut.flac", noise)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    text = tmp_path / "text.wav"
    text.write_text("no sound " * 99)
    tick = written(tmp_path / "tick.wav", tone(0.05))
    code, out, err = mien(
        "audio", text, cut, tmp_path / "missing.wav", tick, good, "--json", "--csv", tmp_path / "rows.csv", *server
    )
    assert code == 3
    answers = [json.loads(line) for line in out.splitlines()]
    assert ["error" in answer for answer in answers] == [True, True, True, True, False]
    assert answers[1]["windows"], "what was before the cut"
    assert answers[4]["emotion"] == "happy"
    assert not answers[4]["is_silent"]
    assert answers[4]["windows"][0]["probabilities"]["happy"] == 1
    sentences = err.splitlines()
    assert len(sentences) == 4
    for name, said in (("text.wav", "not a recording"), ("cut.flac", "truncated"), ("tick.wav", "at least 0.1 s")):
        assert any(name in sentence and said in sentence for sentence in sentences)
    files = [row["file"] for row in rows_of((tmp_path / "rows.csv").read_text())]
    assert set(files) == {str(cut), str(good)}


def test_what_libsndfile_does_not_know_is_read_with_ffmpeg(mien: Mien, server: list[str], tmp_path: Path) -> None:
    path = film(tmp_path / "memo.mp4", [np.zeros((96, 96, 3), np.uint8)] * 20, 10, tone(2, loudness=HAPPY))
    code, out, _ = mien("audio", path, "--json", *server)
    assert code == 0
    assert json.loads(out)["duration_s"] == pytest.approx(2, abs=0.2)


def test_a_hop_out_of_bounds_is_told(mien: Mien, server: list[str], tmp_path: Path) -> None:
    code, _, err = mien("audio", tmp_path / "any.wav", "--hop", "4", *server)
    assert code == 2
    assert "from 0.1 to 3" in err


@pytest.mark.parametrize(("module", "extra"), [("soundfile", "mien[audio]"), ("sounddevice", "mien[microphone")])
def test_without_its_extra_a_sentence_names_it(
    mien: Mien, server: list[str], monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    own = {"soundfile": "recordings", "sounddevice": "microphone"}[module]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"mien.{own}", raising=False)
    monkeypatch.delattr(f"mien.{own}", raising=False)
    code, _, err = mien("audio", {"soundfile": "a.wav", "sounddevice": "mic"}[module], *server)
    assert code == 2
    assert extra in err


class FakeMicrophone:
    """Stands for sounddevice and its device: machines that run tests have neither a microphone nor PortAudio."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound: NDArray[np.float32], rate: int) -> None:
        self._sound, self._rate = sound, rate

    def query_devices(self, kind: str) -> dict[str, Any]:
        if not len(self._sound):
            raise self.PortAudioError("Error querying device -1")
        return {"default_samplerate": float(self._rate)}

    def InputStream(self, *, callback: Callable[..., None], **_: object) -> FakeMicrophone:  # noqa: N802
        self._callback = callback
        return self

    def __enter__(self) -> None:
        for start in range(0, len(self._sound), 1024):
            self._callback(self._sound[start : start + 1024, None], 1024, None, None)

    def __exit__(self, *_: object) -> None:
        pass


def use_microphone(monkeypatch: pytest.MonkeyPatch, fake: FakeMicrophone) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "mien.microphone", raising=False)
    monkeypatch.delattr("mien.microphone", raising=False)


def test_the_microphone_gives_a_line_a_window_until_it_is_stopped(
    mien: Mien, server: list[str], scripted: ScriptedTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien import audio_command

    stop = SimpleNamespace(is_set=lambda: len(scripted.requests) >= 3)
    monkeypatch.setattr(audio_command, "stop_requested", lambda: nullcontext(stop))
    use_microphone(monkeypatch, FakeMicrophone(tone(8, 48_000, HAPPY), 48_000))
    code, out, err = mien("audio", "mic", *server)
    assert code == 0
    assert err == "Listening; Ctrl-C ends it.\n"
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:3] == ["0.0 s happy 100%", "1.5 s happy 100%", "3.0 s happy 100%"]
    assert lines[-1].startswith("mic ")


def test_a_machine_without_a_microphone_is_told(mien: Mien, server: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use_microphone(monkeypatch, FakeMicrophone(np.zeros(0, np.float32), 48_000))
    code, _, err = mien("audio", "mic", *server)
    assert code == 3
    assert "The microphone cannot be opened" in err


@pytest.fixture
def talking(tmp_path: Path) -> Path:
    """6 s: a face for 3 s, then none; a happy voice for 2.5 s, then silence."""
    portrait = _portrait()
    frames = [portrait] * 15 + [np.full_like(portrait, 90)] * 15
    sound = np.concatenate([tone(2.5, loudness=HAPPY), np.zeros(round(3.5 * RATE), np.float32)])
    return film(tmp_path / "talking.mp4", frames, 5, sound)


def test_a_video_with_sound_has_one_timeline_of_both(
    mien: Mien, options: list[str], talking: Path, tmp_path: Path
) -> None:
    code, out, err = mien("video", talking, "--audio", "--csv", "-", "--json", tmp_path / "rows.jsonl", *options)
    assert code == 0
    rows = rows_of(out)
    assert list(rows[0]) == list(MOMENT_COLUMNS)
    assert [row["start_s"] for row in rows[:4]] == ["0.0", "1.5", "3.0", "4.5"]
    assert [int(row["faces"]) > 0 for row in rows[:4]] == [True, True, False, False]
    assert rows[0]["speech_emotion"] == "happy"
    assert rows[0]["face_emotion"] != ""
    assert rows[3]["face_emotion"] == rows[3]["speech_emotion"] == rows[3]["emotion"] == ""
    *moments, last = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(moments) == len(rows)
    assert moments[3]["fused"] is None
    assert sum(moments[0]["fused"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert last["summary"]["speech"]["emotion"] == "happy"
    assert "speech happy 100%" in err


def test_a_video_without_sound_is_about_its_faces(mien: Mien, options: list[str], tmp_path: Path) -> None:
    path = film(tmp_path / "silent.mp4", [_portrait()] * 10, 5, None)
    code, out, err = mien("video", path, "--audio", *options)
    assert code == 0
    assert "has no sound track. The rows are about its faces alone." in err
    assert [row["speech_emotion"] for row in rows_of(out)] == ["", ""]
    assert rows_of(out)[0]["emotion"] == rows_of(out)[0]["face_emotion"] != ""


def _portrait() -> NDArray[np.uint8]:
    with Image.open(PORTRAIT) as picture:
        return np.asarray(picture.convert("RGB").resize((512, 512)))
