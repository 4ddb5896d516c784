from __future__ import annotations

import json
import math

import numpy as np
import pytest

from flows.traffic.drift_plot import answer_profiles
from flows.traffic.stability import DriftSettings, compare, read_drift_settings, stability_index
from mien import SettingsError
from mien.contract import CONFIDENCE_BOUNDS, EMOTION, EMOTION_LABELS, SPEECH_EMOTION
from training.answer_profile import AnswerProfile


def profile(labels: dict[str, float], faces: int = 2_000, *, bucket: int = 7) -> AnswerProfile:
    shares = {label: labels.get(label, 0.0) for label in EMOTION_LABELS}
    confidence = tuple(float(index == bucket) for index in range(len(CONFIDENCE_BOUNDS)))
    return AnswerProfile(faces, shares, confidence, 0.85)


HALF = {"happy": 0.5, "sad": 0.5}


def test_the_index_is_what_a_person_computes() -> None:
    expected = 0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5)
    assert stability_index([50_000, 50_000], [80_000, 20_000]) == pytest.approx(expected, rel=1e-3)
    assert stability_index([500, 500], [50, 50]) == pytest.approx(0)


def test_a_class_without_faces_has_an_index_that_grows_with_the_faces() -> None:
    few, many = stability_index([95, 5], [100, 0]), stability_index([9_500, 500], [10_000, 0])
    assert 0.05 < few < many < 1


@pytest.mark.parametrize("faces", [500, 2_000])
def test_faces_drawn_from_the_reference_do_not_drift(faces: int) -> None:
    """The figures of a release on FER-2013: uneven classes."""
    shares = np.array([0.13, 0.015, 0.11, 0.26, 0.17, 0.12, 0.195])
    rng = np.random.default_rng(0)
    indexes = [stability_index(shares * 3_589, rng.multinomial(faces, shares).tolist()) for _ in range(200)]
    assert max(indexes) < 0.1


def test_labels_that_move_are_a_drift() -> None:
    finding = compare(EMOTION, 1, profile(HALF), "its faces", profile({"happy": 0.9, "sad": 0.1}), DriftSettings())
    assert finding.status == "drifted"
    assert finding.label_psi is not None
    assert finding.label_psi > 0.2
    assert finding.confidence_psi == pytest.approx(0)
    assert "2000 faces served have drifted from its faces" in finding.sentence
    json.dumps(finding.as_json())


def test_a_drift_can_be_looked_at() -> None:
    finding = compare(EMOTION, 1, profile(HALF), "its faces", profile({"happy": 0.9, "sad": 0.1}), DriftSettings())
    assert "| happy | 50.0% | 90.0% |" in finding.as_markdown()
    assert finding.expected is not None
    assert finding.observed is not None
    picture = answer_profiles(finding.expected, finding.observed, "faces").decode()
    assert "</svg>" in picture


def test_a_drift_of_speech_is_told_as_one() -> None:
    finding = compare(SPEECH_EMOTION, 1, profile(HALF), "", profile({"happy": 1.0}), DriftSettings())
    assert finding.sentence.startswith("Release 1 of speech_emotion: 2000 windows of speech served have drifted")
    assert "traffic: 2000 windows of speech |" in finding.as_markdown()
    assert finding.as_json()["ensemble"] == "speech_emotion"


def test_confidences_that_move_are_a_drift() -> None:
    finding = compare(EMOTION, 1, profile(HALF), "its faces", profile(HALF, bucket=3), DriftSettings())
    assert (finding.status, finding.label_psi) == ("drifted", pytest.approx(0))


def test_a_limit_can_be_moved() -> None:
    moved = profile({"happy": 0.7, "sad": 0.3})
    assert compare(EMOTION, 1, profile(HALF), "", moved, DriftSettings(max_label_psi=0.1)).status == "drifted"
    assert compare(EMOTION, 1, profile(HALF), "", moved, DriftSettings(max_label_psi=0.5)).status == "stable"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_DRIFT_MIN_FACES", "20")
    assert read_drift_settings().min_faces == 20
    monkeypatch.setenv("MIEN_DRIFT_REFERENCE", "yesterday")
    with pytest.raises(SettingsError, match="MIEN_DRIFT_REFERENCE is 'yesterday'"):
        read_drift_settings()
