"""Opening a classifier: the shipped one, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.classifier import open_onnx, open_release
from training.errors import TrainingError
from training.footprint import measure_footprint

REPOSITORY = Path(__file__).parents[3] / "model_repository"


def test_the_shipped_release_classifies_any_number_of_faces_and_shows_its_progress() -> None:
    seen: list[tuple[int, str]] = []

    def track(steps: range, task: str) -> range:
        seen.append((len(steps), task))
        return steps

    classifier = open_release(REPOSITORY, 1, track)  # type: ignore[arg-type]  # only ever called with ranges
    probabilities = classifier.predict(np.zeros((130, 48, 48, 1), np.uint8), "a task")

    assert probabilities.shape == (130, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert seen == [(3, "a task")]
    assert classifier.name == "release 1"


def test_its_footprint_is_measured() -> None:
    classifier = open_release(REPOSITORY, 1)

    footprint = measure_footprint(classifier, seconds=0.01)

    assert footprint.file_bytes == classifier.path.stat().st_size
    assert 1_100_000 < footprint.parameters < 1_200_000
    assert [one.batch_size for one in footprint.latency] == [1, 64]
    assert all(0 < one.p50_ms <= one.p95_ms for one in footprint.latency)


def test_a_release_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(TrainingError, match=r"no release 9 in .*It has 1"):
        open_release(REPOSITORY, 9)


def test_another_models_file_is_refused_with_its_tensors() -> None:
    with pytest.raises(TrainingError, match=r"is no classifier.*FACES"):
        open_onnx(REPOSITORY / "emotion_preprocess/1/model.onnx")


@pytest.mark.parametrize(("content", "message"), [(b"not a model", "no ONNX file"), (b"", "is no classifier")])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(TrainingError, match=message):
        open_onnx(path)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    whole = (REPOSITORY / "emotion_classifier/1/model.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(TrainingError):
        open_onnx(path)
