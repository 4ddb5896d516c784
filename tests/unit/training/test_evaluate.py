"""Answers to windows become answers to recordings, and figures of speakers."""

from __future__ import annotations

import numpy as np

from training.calibration import apply_temperature
from training.dataset import Split
from training.evaluate import by_speaker, of_any_temperature, pooled, release_metrics
from training.metrics import classification_report

SPLIT = Split(np.zeros((4, 2)), np.array([1, 1, 0, 1]), ("b", "b", "a", "c"), ("y", "y", "x", "y"))
ANSWERS = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1], [0.7, 0.3]], np.float32)


def test_a_recordings_answer_is_the_mean_of_its_windows() -> None:
    split, answers = pooled(SPLIT, ANSWERS)

    assert (split.names, split.speakers, split.labels.tolist()) == (("a", "b", "c"), ("x", "y", "y"), [0, 1, 1])
    np.testing.assert_allclose(answers, [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], rtol=1e-6)


def test_each_speaker_is_measured_alone() -> None:
    split, answers = pooled(SPLIT, ANSWERS)

    first, second = by_speaker(answers, split, ("no", "yes"))

    assert (first.speaker, first.examples, first.accuracy, first.macro_recall) == ("x", 1, 1.0, 1.0)
    assert (second.speaker, second.examples, second.accuracy, second.macro_recall) == ("y", 2, 0.5, 0.5)


def test_faces_have_no_speakers_and_stay_as_they_are() -> None:
    faces = Split(np.zeros((2, 2)), np.array([0, 1]), ("1", "2"))

    assert pooled(faces, ANSWERS[:2])[0] is faces
    assert by_speaker(ANSWERS[:2], faces, ("no", "yes")) == ()


def test_a_temperature_leaves_the_figures_of_winners_and_no_others() -> None:
    labels = ("no", "yes")
    sure, softened = (
        release_metrics(classification_report(answers, SPLIT.labels, labels), answers)
        for answers in (ANSWERS, apply_temperature(ANSWERS, 3.0).astype(np.float32))
    )

    assert of_any_temperature(sure) == of_any_temperature(softened)
    assert {"validation_macro_recall", "validation_predicted_yes"} <= of_any_temperature(sure).keys()
    assert not {"validation_ece", "validation_mean_confidence"} & of_any_temperature(sure).keys()
