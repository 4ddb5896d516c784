from __future__ import annotations

import pytest

from mien import Box, Emotion, Face, RecognizedFace, SpeechWindow, contract, fusion
from mien.fusion import LABELS, fuse, summary, timeline


def face(**probabilities: float) -> Emotion:
    return Emotion(dict.fromkeys(contract.EMOTION_LABELS, 0.0) | probabilities, "1")


def speech(**probabilities: float) -> Emotion:
    return Emotion(dict.fromkeys(contract.SPEECH_LABELS, 0.0) | probabilities, "2")


def seen(emotion: Emotion) -> list[RecognizedFace]:
    return [RecognizedFace(Face(Box(0, 0, 9, 9)), emotion)]


def test_the_labels_are_those_of_both() -> None:
    assert set(LABELS) == {*contract.EMOTION_LABELS, *contract.SPEECH_LABELS}
    assert len(LABELS) == 8


def test_the_surer_one_counts_more() -> None:
    fused = fuse(face(happy=0.9, sad=0.1), speech(sad=0.6, happy=0.4))
    assert fused is not None
    assert fused.label == "happy"
    assert fused.probabilities["happy"] == pytest.approx((0.9 * 0.9 + 0.6 * 0.4) / 1.5)
    assert sum(fused.probabilities.values()) == pytest.approx(1)
    assert fused.model_version == "1+2"


def test_a_label_that_one_does_not_have_is_the_others_alone() -> None:
    surprised = fuse(face(surprise=0.8, happy=0.2), speech(happy=0.8, neutral=0.2))
    assert surprised is not None
    # Averaged with a zero it would have 0.4 and happy 0.5.
    assert surprised.label == "surprise"
    bored = fuse(face(neutral=0.5, happy=0.5), speech(boredom=0.6, neutral=0.4))
    assert bored is not None
    assert bored.label == "boredom"


def test_a_missing_modality_leaves_the_other_as_it_is() -> None:
    alone = face(fear=0.7, sad=0.3)
    fused = fuse(alone, None)
    assert fused is not None
    assert {label: share for label, share in fused.probabilities.items() if share} == {"fear": 0.7, "sad": 0.3}
    said = fuse(None, speech(boredom=1))
    assert said is not None
    assert said.label == "boredom"
    assert fuse(None, None) is None


def test_a_timeline_holds_both_and_what_only_one_has() -> None:
    frames = [(0.0, seen(face(happy=1))), (1.0, seen(face(sad=1))), (2.0, []), (5.0, seen(face(fear=1)))]
    windows = [SpeechWindow(0, 3, speech(angry=1)), SpeechWindow(1.5, 4.5, None)]
    moments = list(timeline(frames, windows))
    assert [moment.start_s for moment in moments] == [0, 1.5, 3, 4.5]
    assert [moment.faces for moment in moments] == [2, 0, 0, 1]
    first, second, third, last = moments
    assert first.face is not None
    assert first.face.probabilities["happy"] == first.face.probabilities["sad"] == 0.5
    assert second.face is None
    assert second.speech is not None
    assert second.fused is not None
    assert second.fused.label == "angry"
    assert third.fused is None
    assert last.speech is None
    assert last.face is not None


def test_sound_after_the_last_frame_is_on_the_timeline() -> None:
    moments = list(timeline([(0.0, seen(face(happy=1)))], [SpeechWindow(0, 3, speech(sad=1))]))
    assert [moment.end_s for moment in moments] == [1.5, 3]
    assert list(timeline([], [])) == []


def test_a_summary_is_the_mean_of_each_modality() -> None:
    windows = [SpeechWindow(0, 3, speech(angry=1))]
    whole = summary(list(timeline([(0.0, seen(face(happy=1))), (1.6, seen(face(sad=1)))], windows)))
    assert whole is not None
    assert (whole.start_s, whole.end_s, whole.faces) == (0, 3, 2)
    assert whole.face is not None
    assert whole.face.confidence == 0.5
    assert whole.speech is not None
    assert whole.speech.label == "angry"
    assert summary([]) is None
    assert fusion.STEP_S == contract.WINDOW_HOP_S
