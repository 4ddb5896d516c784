"""Answers to windows become answers to recordings, and figures of speakers."""

from __future__ import annotations

import numpy as np

from training.dataset import Split
from training.evaluate import by_speaker, pooled

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
