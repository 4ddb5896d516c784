from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from mien import (
    AsyncEmotionClient,
    ClientSettings,
    Comparison,
    EmotionClient,
    MediaError,
    Result,
    ServerUnavailableError,
    SettingsError,
    TensorError,
    contract,
    speech,
)
from tests.unit.mien.scripted_triton import ScriptedTriton, abort
from tests.unit.mien.sounds import RATE, tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ANGRY, HAPPY = 0.7, 0.4
"""Loudness that the scripted server takes for those."""


def spoken() -> NDArray[np.float32]:
    """4.5 s of one, 3 s of nothing, 3 s of the other."""
    parts = [tone(4.5, loudness=ANGRY), np.zeros(3 * RATE, np.float32), tone(3, loudness=HAPPY)]
    return np.concatenate(parts)


async def test_both_clients_name_windows_and_the_whole(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        answer = client.recognize_speech(spoken(), RATE)
    async with AsyncEmotionClient(scripted.endpoint) as other:
        again = await other.recognize_speech(spoken(), RATE)
    labels = [window.emotion and window.emotion.label for window in answer.windows]
    assert labels == ["angry", "angry", "angry", None, "happy", "happy"]
    assert [(window.start_s, window.end_s) for window in answer.windows][-2:] == [(6, 9), (7.5, 10.5)]
    assert answer.duration_s == 10.5
    assert answer.emotion is not None
    assert answer.emotion.label == "angry"
    assert answer.emotion.confidence == pytest.approx(3 / 5)
    assert answer.emotion.model_version == "3"
    assert again.windows == answer.windows
    assert {request.model_name for request, _ in scripted.requests} == {"speech_emotion"}


def test_silence_is_answered_without_the_server(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        answer = client.recognize_speech(np.zeros(5 * RATE, np.int16), RATE)
    assert answer.is_silent
    assert [window.emotion for window in answer.windows] == [None, None, None]
    assert scripted.requests == []


def test_a_long_recording_goes_in_batches_of_64(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        answer = client.recognize_speech(tone(100, loudness=HAPPY), RATE, hop_s=1)
    assert len(answer.windows) == 98
    assert sorted(request.inputs[0].shape[0] for request, _ in scripted.requests) == [34, 64]


def test_every_window_is_told_to_the_hook(scripted: ScriptedTriton) -> None:
    told: list[Result] = []
    with EmotionClient(scripted.endpoint, on_result=told.append) as client:
        client.recognize_speech(spoken(), RATE)
    assert [(result.ensemble, result.label) for result in told] == [
        ("speech_emotion", label) for label in ("angry", "angry", "angry", "happy", "happy")
    ]


def test_windows_of_another_shape_are_told(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        assert len(client.classify_speech(np.zeros((2, *contract.AUDIO.shape), np.float32))) == 2
        with pytest.raises(TensorError, match=r"\(N, 48000\) float32, but its shape is \(2, 47999\)"):
            client.classify_speech(np.zeros((2, 47_999), np.float32))
        with pytest.raises(TensorError, match="AUDIO holds numbers that are not finite"):
            client.classify_speech(np.full((1, 48_000), np.nan, np.float32))


def test_what_cannot_be_recognized_is_told_before_anything_is_sent(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        with pytest.raises(TensorError, match=r"at least 0\.1 s"):
            client.recognize_speech(np.zeros(0, np.float32), RATE)
        with pytest.raises(TensorError, match="sample rate"):
            client.recognize_speech(tone(1), 0)
        with pytest.raises(SettingsError, match="hop_s"):
            client.recognize_speech(tone(1), RATE, hop_s=5)
    assert scripted.requests == []


def test_errors_and_other_names_are_those_of_speech(scripted: ScriptedTriton) -> None:
    scripted.script = abort(grpc.StatusCode.UNAVAILABLE)
    settings = ClientSettings(
        endpoints=scripted.endpoint, retry_attempts=1, speech_model="mine", speech_model_version="7"
    )
    with EmotionClient(settings) as client, pytest.raises(ServerUnavailableError):
        client.recognize_speech(tone(1), RATE)
    ((request, _),) = scripted.requests
    assert (request.model_name, request.model_version) == ("mine", "7")


def test_a_candidate_for_speech_is_shown_speech(scripted: ScriptedTriton) -> None:
    compared: list[Comparison] = []
    settings = ClientSettings(endpoints=scripted.endpoint, canary_share=1)
    with EmotionClient(settings, on_comparison=compared.append) as client:
        client.recognize_speech(tone(1), RATE)
    ((request, _),) = scripted.requests
    assert request.model_name == "speech_emotion_candidate"


def test_sound_that_breaks_off_gives_what_was_before(scripted: ScriptedTriton) -> None:
    def broken() -> Iterator[NDArray[np.float32]]:
        yield tone(40, loudness=HAPPY)
        raise MediaError("it broke off")

    seen: list[float] = []

    def follow(client: EmotionClient) -> None:
        for window in speech.analyse(client, broken()):
            seen.append(window.end_s)  # noqa: PERF401 (what came before the error is looked at)

    with EmotionClient(scripted.endpoint) as client, pytest.raises(MediaError, match="it broke off"):
        follow(client)
    assert seen[-1] == 40
