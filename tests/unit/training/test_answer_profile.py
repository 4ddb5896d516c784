from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from flows.traffic.pages import Samples
from mien import Result
from mien.contract import CONFIDENCE_BOUNDS, EMOTION_LABELS
from mien.metrics import TrafficMetrics
from training.answer_profile import AnswerProfile


def probabilities(*surest: tuple[int, float]) -> np.ndarray:
    rows = np.zeros((len(surest), 7), np.float32)
    for row, (label, confidence) in zip(rows, surest, strict=True):
        row[:] = (1 - confidence) / 6
        row[label] = confidence
    return rows


def test_answers_are_counted_by_label_and_confidence() -> None:
    profile = AnswerProfile.of_answers(probabilities((3, 0.95), (3, 1.0), (0, 0.25), (6, 0.19)))
    assert profile.faces == 4
    assert profile.labels == {
        label: {"happy": 0.5, "angry": 0.25, "neutral": 0.25}.get(label, 0) for label in EMOTION_LABELS
    }
    assert profile.confidence == (0.25, 0.25, 0, 0, 0, 0, 0, 0, 0.5)
    assert profile.mean_confidence == pytest.approx(0.5975)


def test_a_manifest_holds_it_among_its_metrics() -> None:
    profile = AnswerProfile.of_answers(probabilities((3, 0.95), (0, 0.25)))
    again = AnswerProfile.of_metrics(profile.as_metrics() | {"validation_accuracy": 0.5})
    assert again is not None
    assert again.labels == profile.labels
    assert again.confidence == profile.confidence
    assert AnswerProfile.of_metrics({"validation_accuracy": 0.5, "validation_faces": 10}) is None


@pytest.mark.parametrize("confidence", [0.2, 0.2000001, 0.5, 0.9999, 1.0])
def test_a_confidence_falls_into_the_bucket_that_the_sdk_counts_it_in(confidence: float) -> None:
    registry = CollectorRegistry()
    row = probabilities((3, confidence))
    TrafficMetrics(registry).count_result(Result("happy", float(row.max()), "emotion", "1", 0, 0, "id"))
    counted = Samples.parse(generate_latest(registry).decode()).histogram("mien_confidence")
    assert counted.bounds[:-1] == CONFIDENCE_BOUNDS
    assert counted.counts[:-1] == AnswerProfile.of_answers(row).confidence
