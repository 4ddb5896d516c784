"""Corrections of speech over REST, on a gateway that was not started: no worker, no model server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from mien.gateway.feedback.kinds import SPEECH
from tests.unit.mien.gateway.feedback.conftest import FIELDS, desk, face

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from fastapi import FastAPI


def recorded(seconds: float, rate: int = 44_100, channels: int = 2) -> bytes:
    """A FLAC file of noise that tells where it was recorded."""
    noise = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    with io.BytesIO() as file:
        with soundfile.SoundFile(file, "w", rate, channels, format="FLAC") as sound:
            sound.title = "at my home"
            sound.write(noise)
        return file.getvalue()


async def say(client: httpx.AsyncClient, audio: bytes, **fields: str) -> httpx.Response:
    return await client.post("/v1/feedback/speech", files={"audio": ("said", audio)}, data=FIELDS | fields)


async def test_a_correction_of_speech_is_kept_reviewed_and_erased(
    app: FastAPI, local: httpx.AsyncClient, tmp_path: Path
) -> None:
    terms = (await local.get("/v1/feedback/terms")).json()["speech"]
    assert "recording of speech" in terms["terms"]
    assert "boredom" in terms["labels"]
    sent = recorded(2.5)
    assert b"at my home" in sent
    answer = await say(local, sent, corrected="boredom")
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    place = f"/v1/feedback/{receipt['id']}"
    kept = (await local.get(place)).json()
    assert (kept["ensemble"], kept["corrected"], kept["picture_url"]) == ("speech_emotion", "boredom", None)
    recording = await local.get(kept["recording_url"])
    assert recording.headers["content-type"] == "audio/flac"
    assert b"at my home" not in recording.content
    with soundfile.SoundFile(io.BytesIO(recording.content)) as sound:
        assert (sound.samplerate, sound.channels) == (16_000, 1)
        assert sound.frames == pytest.approx(2.5 * 16_000, abs=10)
    assert (await local.get(f"{place}/picture")).status_code == 404
    assert desk(app).store.find(receipt["id"]).terms == terms["terms"]
    await local.post(f"{place}/review", json={"decision": "accepted"})
    assert desk(app).store.accepted() == [], "the dataset of faces takes no speech"
    assert [one.id for one in desk(app).store.accepted(SPEECH)] == [receipt["id"]]
    erased = await local.delete(place, headers={"X-Erasure-Token": receipt["erasure_token"]})
    assert erased.status_code == 204
    assert list((tmp_path / "feedback/pictures").iterdir()) == list((tmp_path / "spool").iterdir()) == []


async def test_speech_that_cannot_be_used_is_refused(local: httpx.AsyncClient, tmp_path: Path) -> None:
    good = recorded(1, 16_000, 1)
    for audio, fields, status, words in (
        (b"", {}, 400, "No audio uploaded"),
        (face(), {}, 415, "not a WAV, FLAC, OGG or MP3"),
        (good[: len(good) // 2], {}, 422, "The recording is truncated or damaged"),
        (recorded(3.2, 16_000, 1), {}, 422, "longer than 3 s; send the window alone"),
        (recorded(12, 96_000, 2), {}, 413, "2,097,152 bytes"),
        (good, {"consent": "no"}, 422, "a recording of speech is kept only if"),
        (good, {"corrected": "surprise"}, 422, "corrected is 'surprise': give one of angry, boredom"),
    ):
        answer = await say(local, audio, **fields)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]
        assert str(tmp_path) not in answer.json()["error"]
    assert not (tmp_path / "feedback").exists()


async def test_a_worker_process_reads_the_recording(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    path = tmp_path / "said.flac"
    path.write_bytes(recorded(1))
    utterances = desk(app).utterances
    try:
        kept = await utterances.read(path)
    finally:
        await utterances.close()
    assert soundfile.info(io.BytesIO(kept)).samplerate == 16_000
