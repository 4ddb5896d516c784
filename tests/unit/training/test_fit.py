"""What a run starts from and which weights it changes; whole runs are in the integration tests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from keras import layers

from mien import contract
from tests.unit.training.faces import write_tree
from training import networks, transfer
from training.config import Config, Stage
from training.dataset import Dataset, load
from training.errors import TrainingError
from training.export.release import candidate_of_run
from training.fit import divide, fit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def colour(dropout: float) -> keras.Model:
    """A network for RGB that trains in a moment, with a base and a head."""
    inputs = keras.Input((96, 96, 3))
    x = layers.AveragePooling2D(16)(layers.Rescaling(1 / 127.5, -1.0)(inputs))
    x = layers.BatchNormalization(name="base_bn")(layers.Conv2D(4, 3, name="base_conv")(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(7, name="head_logits")(x))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.NETWORKS, "colour", networks.Network(colour, "for tests", contract.EMOTION_RGB96))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_tree(tmp_path_factory.mktemp("faces"), per_class=4))


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.weights.h5"
    networks.build("colour").save_weights(path)
    return path


def weights(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    network = networks.build("colour")
    networks.load_weights(network, path)
    return {layer.name: [np.asarray(weight) for weight in layer.weights] for layer in network.layers if layer.weights}


def config(start: Path, epochs: int, *stages: Stage) -> Config:
    return Config(
        "colour", epochs, 0.05, batch_size=14, optimizer="adam", ema=0.5, patience=9, pretrained=start, stages=stages
    )


def changed(before: list[NDArray[np.float32]], after: list[NDArray[np.float32]]) -> list[bool]:
    return [not np.array_equal(one, other) for one, other in zip(before, after, strict=True)]


def test_frozen_layers_stay_as_they_start_down_to_their_moving_averages(
    start: Path, dataset: Dataset, tmp_path: Path
) -> None:
    before = weights(start)

    after = weights(fit(config(start, 2, Stage(trainable=("head",))), dataset, tmp_path / "run").weights)

    assert not any(changed(before["base_conv"], after["base_conv"]))
    assert not any(changed(before["base_bn"], after["base_bn"]))
    assert all(changed(before["head_logits"], after["head_logits"]))


def test_the_next_stage_lets_them_learn_from_where_the_first_ended(
    start: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each epoch's weights are kept, not only those of the best.
    monkeypatch.setattr("training.fit.WEIGHTS_FILE", "{epoch}.weights.h5")
    monkeypatch.setattr(keras.callbacks.ModelCheckpoint, "_should_save_model", lambda *_: True)

    fit(config(start, 2, Stage(0, ("head",)), Stage(1, rate=1e-6)), dataset, tmp_path)

    first, second = weights(tmp_path / "1.weights.h5"), weights(tmp_path / "2.weights.h5")
    assert not any(changed(weights(start)["base_conv"], first["base_conv"]))
    assert all(changed(first["base_conv"][:1], second["base_conv"][:1]))
    for layer, values in first.items():
        if layer != "base_bn":
            for one, other in zip(values, second[layer], strict=True):
                np.testing.assert_allclose(other, one, atol=1e-5)


def test_a_run_broken_off_between_stages_ends_like_one_that_was_not(
    start: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = config(start, 3, Stage(0, ("head",)), Stage(1, ("base", "head")), Stage(2))
    whole = fit(staged, dataset, tmp_path / "whole")

    freeze = transfer.set_trainable

    def interrupted(network: keras.Model, stage: Stage) -> None:
        if stage.epoch == 2:
            raise KeyboardInterrupt
        freeze(network, stage)

    monkeypatch.setattr(transfer, "set_trainable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(staged, dataset, tmp_path / "broken")
    monkeypatch.setattr(transfer, "set_trainable", freeze)
    resumed = fit(staged, dataset, tmp_path / "broken")

    assert all(len(values) == 3 for values in whole.history.values())
    assert resumed.history["val_loss"] == pytest.approx(whole.history["val_loss"], abs=1e-5)
    assert resumed.best_epoch == whole.best_epoch


def test_a_start_that_does_not_fit_is_refused_before_training(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no weights file"):
        fit(config(tmp_path / "absent.weights.h5", 1, Stage()), dataset, tmp_path / "run")
    with pytest.raises(TrainingError, match="colour has no weights from ImageNet"):
        fit(config(tmp_path / "absent.h5", 1, Stage()), dataset, tmp_path / "run")


def test_faces_held_out_give_the_temperature_and_are_not_fitted_to(
    start: Path, dataset: Dataset, tmp_path: Path
) -> None:
    holding = replace(config(start, 1, Stage()), held_out=0.25)
    fitted, held_out = divide(holding, dataset.train)
    assert held_out is not None
    assert (len(fitted), len(held_out)) == (21, 7)
    assert not set(fitted.names) & set(held_out.names)
    result = fit(holding, dataset, tmp_path / "run")
    record = json.loads((tmp_path / "run/result.json").read_text())
    assert record["temperature"] == result.temperature != 1.0
    assert record["dataset"]["digest"] == dataset.digest
    assert candidate_of_run(tmp_path / "run").temperature == result.temperature


def test_without_faces_held_out_the_temperature_is_one(start: Path, dataset: Dataset, tmp_path: Path) -> None:
    assert divide(config(start, 1, Stage()), dataset.train) == (dataset.train, None)
    assert fit(config(start, 1, Stage()), dataset, tmp_path / "run").temperature == 1.0
