"""Synthetic faces and speech, and what the shipped releases answer for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.contract import EMOTION, SPEECH_EMOTION, EnsembleSpec
from training.export.golden import synthetic_faces, synthetic_speech
from training.onnx_inference import OnnxModel

SHIPPED = Path(__file__).parents[4] / "model_repository"


def test_the_same_seed_draws_the_same_faces_and_another_draws_others() -> None:
    faces = synthetic_faces(3, seed=1)

    assert faces.shape == (3, 96, 96, 3)
    assert faces.dtype == np.uint8
    np.testing.assert_array_equal(faces, synthetic_faces(3, seed=1))
    assert np.any(faces != synthetic_faces(3, seed=2))
    assert np.any(faces[0] != faces[1])


def test_the_same_seed_makes_the_same_speech_and_another_makes_other() -> None:
    speech = synthetic_speech(2, seed=1)

    assert speech.shape == (2, 48_000)
    assert speech.dtype == np.float32
    assert 0.1 < np.abs(speech).max() <= 1
    np.testing.assert_array_equal(speech, synthetic_speech(2, seed=1))
    assert np.any(speech != synthetic_speech(2, seed=2))


@pytest.mark.parametrize("ensemble", [EMOTION, SPEECH_EMOTION], ids=lambda ensemble: ensemble.name)
def test_the_shipped_graphs_answer_the_golden_inputs_as_keras_did(ensemble: EnsembleSpec) -> None:
    with np.load(SHIPPED / ensemble.name / "1/golden.npz", allow_pickle=False) as golden:
        answers = golden[ensemble.input.name.lower()]
        for member in ensemble.members:
            answers = OnnxModel(SHIPPED / member.name / "1/model.onnx")(answers)

        np.testing.assert_allclose(answers, golden["probabilities"], atol=float(golden["tolerance"]))
