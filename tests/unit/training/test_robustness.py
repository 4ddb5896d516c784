"""Spoiled faces: each corruption does what its name says, more at each strength, and the same again with one seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.contract import EMOTION
from training.classifier import Classifier
from training.dataset import Split
from training.export.golden import synthetic_faces
from training.inputs import preparing
from training.robustness import CORRUPTIONS, Corruption, low_light, measure_robustness, small_face

FACES = synthetic_faces(6)[:, ::2, ::2, :1]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_each_strength_changes_faces_more_than_the_one_before(corruption: Corruption) -> None:
    changes = []
    for strength in corruption.strengths:
        spoiled = corruption.apply(FACES, strength, np.random.default_rng(0))
        assert (spoiled.shape, spoiled.dtype) == (FACES.shape, np.uint8)
        changes.append(np.abs(spoiled.astype(float) - FACES).mean())

    assert changes[0] > 0.1
    assert changes == sorted(changes)


def test_low_light_is_dark_and_a_small_face_keeps_its_brightness() -> None:
    rng = np.random.default_rng(0)

    assert low_light(FACES, 0.25, rng).mean() == pytest.approx(FACES.mean() * 0.25, rel=0.02)
    assert small_face(FACES, 12, rng).mean() == pytest.approx(FACES.mean(), rel=0.02)


def test_accuracy_is_measured_at_every_point_and_repeats() -> None:
    # This classifier sees only brightness, so that low light alone must hurt it.
    def run(
        batch: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        bright = (batch.mean(axis=(1, 2, 3)) > 60).astype(np.int64)
        return np.eye(2, dtype=np.float32)[bright]

    classifier = Classifier("brightness", Path("none"), "ONNX", 0, EMOTION, run, preparing(EMOTION))
    split = Split(np.full((8, 48, 48, 1), 100, np.uint8), np.ones(8, np.int64), ("a",) * 8)

    points = measure_robustness(classifier, split, seed=3)

    assert points == measure_robustness(classifier, split, seed=3)
    assert len(points) == sum(len(corruption.strengths) for corruption in CORRUPTIONS)
    accuracy = {(point.corruption, point.strength): point.accuracy for point in points}
    assert accuracy["blur", 2.0] == accuracy["noise", 40.0] == accuracy["small face", 12.0] == 1
    assert accuracy["low light", 0.25] == 0
