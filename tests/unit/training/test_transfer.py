"""ResNet50V2: where it starts from, and which of its layers learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from mien import contract
from training import networks, transfer
from training.config import Stage
from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return networks.build("resnet50v2", dropout=0.5)


def base_weights(network: keras.Model) -> list[NDArray[np.float32]]:
    return [np.asarray(w) for layer in network.layers if not layer.name.startswith("head") for w in layer.weights]


def test_it_takes_what_its_member_of_the_ensemble_takes(network: keras.Model) -> None:
    member = networks.find("resnet50v2").ensemble.members[-1]

    assert member is contract.EMOTION_CLASSIFIER_RGB96
    assert network.input_shape[1:] == member.input.shape
    assert network.output_shape[1:] == member.output.shape


def test_levels_are_scaled_as_resnet50v2_wants_them(network: keras.Model) -> None:
    levels = np.linspace(0, 255, 96 * 96 * 3, dtype=np.float32).reshape(1, 96, 96, 3)
    scaling = keras.Model(network.inputs, network.get_layer("conv1_pad").input)

    expected = keras.applications.resnet_v2.preprocess_input(levels.copy())

    np.testing.assert_allclose(scaling.predict(levels, verbose=0), expected, atol=1e-5)


def test_the_base_starts_from_a_file_and_the_head_anew(network: keras.Model, tmp_path: Path) -> None:
    source = keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=(96, 96, 3))
    path = tmp_path / "resnet50v2_notop.h5"
    source.save(path)  # in the form of Keras' own file
    head = [np.asarray(weight) for weight in network.get_layer("head_dense").weights]

    transfer.load_imagenet(network, path)

    for found, expected in zip(base_weights(network), map(np.asarray, source.weights), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(network.get_layer("head_dense").weights, head, strict=True):
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_a_download_that_fails_ends_in_a_sentence_with_the_way_out(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.resnet.BASE_WEIGHTS_PATH", "http://127.0.0.1:9/")  # nobody listens

    with pytest.raises(TrainingError) as caught:
        transfer.load_imagenet(network)

    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("ImageNet's weights cannot be downloaded (URL fetch failure on http://127.0.0.1:9/")
    assert message.endswith("set pretrained to its path, or set pretrained=None to start from random weights.")


@pytest.mark.parametrize("content", [None, b"not HDF5"], ids=["absent", "damaged"])
def test_a_file_that_does_not_fit_is_named(network: keras.Model, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.h5"
    if content:
        path.write_bytes(content)

    with pytest.raises(TrainingError, match=r"some\.h5 does not hold the weights of ResNet50V2 without its top: "):
        transfer.load_imagenet(network, path)


def test_a_network_without_such_a_base_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"vgg_small has no weights from ImageNet; set pretrained=None"):
        transfer.load_imagenet(networks.build("vgg_small"))


def test_a_stage_lets_the_layers_learn_that_it_names(network: keras.Model) -> None:
    transfer.set_trainable(network, Stage(trainable=("conv5", "head")))
    some = {variable.path.partition("_")[0] for variable in network.trainable_variables}
    transfer.set_trainable(network, Stage())
    every = {variable.path.partition("_")[0] for variable in network.trainable_variables}

    assert some == {"conv5", "head"}
    assert every == {"conv1", "conv2", "conv3", "conv4", "conv5", "post", "head"}


def test_a_stage_that_names_no_layer_is_refused_with_the_names(network: keras.Model) -> None:
    stage = Stage(4, trainable=("head", "conv6"))

    with pytest.raises(TrainingError, match=r"from epoch 4 lets 'conv6' learn.*conv1, conv2,.*post, head"):
        transfer.set_trainable(network, stage)
