"""The loss that networks learn by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import log_softmax, softmax

from training import networks
from training.augmentation import AugmentationConfig
from training.config import Config, Distillation, Teacher
from training.learner import Learner

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = np.array([0, 3, 3, 6])


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), np.uint8)


@pytest.fixture(autouse=True)
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network so small that its loss can be worked out by hand."""

    def build(_dropout: float) -> keras.Model:
        inputs = keras.Input((48, 48, 1))
        x = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(inputs)))
        return keras.Model(inputs, layers.Dense(7)(x))

    monkeypatch.setitem(networks.NETWORKS, "linear", networks.Network(build, "for tests"))


def loss_of(learner: Learner, outputs: dict[str, object]) -> float:
    return float(ops.convert_to_numpy(learner.compute_loss(y=LABELS, y_pred=outputs)))


def test_the_loss_is_the_cross_entropy(faces: NDArray[np.uint8]) -> None:
    network = networks.build("linear")
    learner = Learner(network, Config("linear", 1, 0.1))

    loss = loss_of(learner, learner({"example": faces, "label": LABELS}))

    expected = -log_softmax(network.predict(faces.astype(np.float32), verbose=0), axis=1)[np.arange(4), LABELS].mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_class_weights_weigh_the_faces() -> None:
    weights = np.array([2, 1, 1, 0, 1, 1, 1], np.float32)
    learner = Learner(networks.build("linear"), Config("linear", 1, 0.1), weights)
    logits = np.random.default_rng(1).normal(size=(4, 7)).astype(np.float32)

    loss = loss_of(learner, {"logits": logits, "targets": np.eye(7, dtype=np.float32)[LABELS]})

    each = -log_softmax(logits, axis=1)[np.arange(4), LABELS]
    assert loss == pytest.approx((2 * each[0] + each[3]) / 4, rel=1e-5)


def test_labels_are_smoothed_only_while_training(faces: NDArray[np.uint8]) -> None:
    config = Config("linear", 1, 0.1, label_smoothing=0.7)
    learner = Learner(networks.build("linear"), config)
    batch = {"example": faces, "label": LABELS}

    assert ops.convert_to_numpy(learner(batch)["targets"]).max() == 1
    assert ops.convert_to_numpy(learner(batch, training=True)["targets"]).min() == pytest.approx(0.1)


def test_the_loss_with_teachers_is_weighed_and_they_are_not_trained(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.weights.h5" for number in range(2)]
    teachers = [networks.build("linear") for _ in paths]
    for teacher, path in zip(teachers, paths, strict=True):
        teacher.save_weights(path)
    distillation = Distillation(tuple(Teacher("linear", path) for path in paths), temperature=3.0, weight=0.6)
    learner = Learner(networks.build("linear"), Config("linear", 1, 0.1, distillation=distillation))

    outputs = learner({"example": faces, "label": LABELS}, training=True)

    logits = ops.convert_to_numpy(outputs["logits"])
    soft = ops.convert_to_numpy(outputs["teachers"])
    targets = ops.convert_to_numpy(outputs["targets"])
    hard = -(targets * log_softmax(logits, axis=1)).sum(axis=1).mean()
    distilled = -(soft * log_softmax(logits / 3, axis=1)).sum(axis=1).mean()
    assert loss_of(learner, outputs) == pytest.approx(0.4 * hard + 0.6 * 9 * distilled, rel=1e-5)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    assert len(learner.trainable_variables) == 2


def test_the_mean_of_the_teachers_is_learnt(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "teacher.weights.h5"
    teacher = networks.build("linear")
    teacher.save_weights(path)
    distillation = Distillation((Teacher("linear", path), Teacher("linear", path)), temperature=1.0)
    unchanged = AugmentationConfig(geometry_share=0, flip=0, contrast=0, brightness=0, erasing=0, mixup=0)
    config = Config("linear", 1, 0.1, distillation=distillation, augmentation=unchanged)
    learner = Learner(networks.build("linear"), config)

    outputs = learner({"example": faces, "label": LABELS}, training=True)

    expected = softmax(teacher.predict(faces.astype(np.float32), verbose=0), axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs["teachers"]), expected, atol=1e-4)


def test_batch_normalization_gets_the_statistics_of_the_present_weights(
    faces: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_dropout: float) -> keras.Model:
        inputs = keras.Input((48, 48, 1))
        x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(3, 3, strides=8)(inputs))
        return keras.Model(inputs, layers.Dense(7)(layers.GlobalMaxPooling2D()(x)))

    monkeypatch.setitem(networks.NETWORKS, "normalized", networks.Network(build, "for tests"))
    learner = Learner(networks.build("normalized"), Config("normalized", 1, 0.1))
    batches = [faces[:2], faces[2:]]

    learner.estimate_statistics(batches)

    convolution, normalization = learner.network.layers[1:3]
    outputs = [ops.convert_to_numpy(convolution(batch.astype(np.float32))) for batch in batches]
    means = [output.mean(axis=(0, 1, 2)) for output in outputs]
    variances = [output.var(axis=(0, 1, 2)) for output in outputs]
    np.testing.assert_allclose(normalization.moving_mean, np.mean(means, axis=0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(normalization.moving_variance, np.mean(variances, axis=0), rtol=1e-3)
    assert normalization.momentum == 0.9
