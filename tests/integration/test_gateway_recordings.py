"""Recordings of speech through a real gateway and a real Triton."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import soundfile

from mien import ClientSettings, EmotionClient, contract
from mien.gateway.keys import KeyFile
from tests.gateways import DEADLINE_S, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from numpy.typing import NDArray

    from serving import TritonServer
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

RATE = contract.SAMPLE_RATE_HZ


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def noise(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def encoded(samples: NDArray[np.float32], kind: str = "WAV", rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], format=kind) as sound:
        for start in range(0, len(samples), rate):
            sound.write(samples[start : start + rate])
    return file.getvalue()


def post(client: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/detect-audio", files={"audio": ("recording", content)}, headers=headers)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_kind_is_answered_as_the_sdk_does(client: httpx.Client, triton: TritonServer, kind: str) -> None:
    content = encoded(noise(7), kind)
    answer = post(client, content).raise_for_status().json()
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    with EmotionClient(ClientSettings(endpoints=triton.endpoint, deadline_s=DEADLINE_S)) as sdk:
        same = sdk.recognize_speech(samples, rate)
    assert same.emotion is not None
    assert answer["emotion"] == same.emotion.label
    assert answer["probabilities"] == pytest.approx(same.emotion.probabilities, abs=1e-4)
    assert list(answer["probabilities"]) == list(contract.SPEECH_LABELS)
    assert len(answer["windows"]) == len(same.windows)
    assert answer["windows"][1]["start_s"] == 1.5
    assert answer["duration_s"] == pytest.approx(7, abs=0.1)
    assert answer["model_version"] == "1"
    assert answer["reason"] is None


def test_silence_is_an_answer(client: httpx.Client) -> None:
    answer = post(client, encoded(np.zeros(4 * RATE, np.float32))).raise_for_status().json()
    assert answer["reason"] == "The recording is silent"
    assert answer["emotion"] is answer["probabilities"] is None
    assert [window["emotion"] for window in answer["windows"]] == [None, None]


@pytest.mark.parametrize("rate", [8_000, 96_000])
def test_stereo_of_any_rate_is_answered(client: httpx.Client, rate: int) -> None:
    assert post(client, encoded(np.stack([noise(1)] * 2, 1), "WAV", rate)).status_code == 200


def test_what_cannot_be_answered_is_told(client: httpx.Client) -> None:
    whole = encoded(noise(10), "FLAC")
    for content, status, said in (
        (b"", 400, "No audio uploaded"),
        (b"\xff\xd8\xff\xe0" + bytes(99), 415, "not a WAV, FLAC, OGG or MP3"),
        (b"RIFF\x00\x00\x00\x00WAVE" + bytes(99), 422, "The recording is not a recording that can be decoded"),
        (b"ID3" + bytes(999), 422, "cannot be decoded|not a recording"),
        (whole[: len(whole) // 2], 422, "The recording is truncated or damaged"),
        (encoded(noise(0.05)), 422, "The recording has only 0.050 s of sound"),
        (encoded(noise(1), "WAV", 4_000), 422, "sample rate is 4000"),
    ):
        answer = post(client, content)
        assert answer.status_code == status, answer.text
        assert any(part in answer.json()["error"] for part in said.split("|"))
        assert "/" not in answer.json()["error"], "where the file lay is not for callers"
    missing = client.post("/v1/detect-audio", files={"image": ("a", encoded(noise(1)))})
    assert missing.json() == {"error": "No audio uploaded"}
    assert client.post("/detect-audio").status_code == 404


def test_nothing_is_left_and_everything_is_counted(gateway: RunningGateway, client: httpx.Client) -> None:
    post(client, encoded(noise(2))).raise_for_status()
    post(client, b"fLaC" + bytes(99))
    left = [path for path in gateway.folder.glob("spool/*/*") if path.name != "lock"]
    assert left == []
    metrics = client.get("/metrics").text
    assert 'route="/v1/detect-audio",status="200"' in metrics
    assert 'mien_predictions_total{label="' in metrics
    assert 'model="speech_emotion"' in metrics
    assert "mien_gateway_recordings 0.0" in metrics
    assert "/v1/detect-audio" in client.get("/openapi.json").json()["paths"]


def test_limits_hold_for_recordings_too(triton: TritonServer, tmp_path: Path) -> None:
    settings = {
        "MAX_AUDIO_BYTES": "400000",
        "MAX_RECORDING_DURATION_S": "10",
        "MAX_RECORDINGS": "1",
        "DETECT_AUDIO_PER_MINUTE": "6",
        "WORKERS": "1",
        "REQUIRE_KEYS": "true",
    }
    key = KeyFile(tmp_path / "keys.json").add("tests")
    with running_gateway(triton.endpoint, tmp_path, **settings) as gateway, gateway.client() as client:
        assert post(client, encoded(noise(1))).status_code == 401
        bearer = {"Authorization": f"Bearer {key}"}
        too_large = post(client, encoded(noise(13)), **bearer)
        assert (too_large.status_code, "larger than the limit" in too_large.text) == (413, True)
        too_long = post(client, encoded(noise(11)), **bearer)
        assert (too_long.status_code, "longer than the limit of 10 s" in too_long.text) == (413, True)
        content = encoded(noise(9))
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: post(client, content, **bearer).status_code, range(2)))
        assert both in ([200, 503], [503, 200], [200, 200])  # the second may come when the first is done
        statuses = [post(client, encoded(noise(1)), **bearer).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_a_model_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with running_gateway("127.0.0.1:9", tmp_path, WORKERS="1") as gateway, gateway.client() as client:
        answer = post(client, encoded(noise(1)))
        assert answer.status_code == 503
        assert answer.json() == {"error": "The model server cannot answer now; try again in a moment."}
        assert "Retry-After" in answer.headers


def test_a_long_recording_takes_little_memory(gateway: RunningGateway, client: httpx.Client) -> None:
    process = psutil.Process(gateway.process.pid)
    post(client, encoded(noise(30))).raise_for_status()
    before = process.memory_info().rss
    answer = post(client, encoded(noise(600)), **{"X-Request-ID": "long"}).raise_for_status()
    assert len(answer.json()["windows"]) == 399
    grown = (process.memory_info().rss - before) / 2**20
    print(f"\nthe gateway grew by {grown:.0f} MiB over a recording of ten minutes")
    assert grown < 48  # its windows are 73 MiB together; of those 3 MiB at a time are there
