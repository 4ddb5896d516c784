"""The networks by name. Each takes what its ensemble's preprocessing gives, scales it first, and gives logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, layers

from mien.contract import EMOTION, EMOTION_LABELS, EMOTION_RGB96, PIXELS, SPEECH_EMOTION
from training import speech_networks, transfer
from training.blocks import conv_bn, conv_bn_relu, logits
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mien.contract import EnsembleSpec


@dataclass(frozen=True)
class Network:
    """A network.

    Attributes:
        builder: takes the dropout rate, gives the model.
        description: what to know of it, in a sentence.
        ensemble: with the members that serve it, the last of which says what the network takes.
    """

    builder: Callable[[float], keras.Model]
    description: str
    ensemble: EnsembleSpec = EMOTION


def vgg(width: int, dropout: float) -> keras.Model:
    """VGG-like: four stages of two 3 x 3 convolutions, then global average pooling; the filters double each stage.

    Args:
        width: filters of the first stage.
        dropout: share of the pooled features that is dropped while training.
    """
    inputs, x = _scaled_input()
    for stage in range(4):
        x = conv_bn_relu(x, width << stage)
        x = conv_bn_relu(x, width << stage)
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, _head(x, dropout))


def vgg_small(dropout: float) -> keras.Model:
    """Like `vgg`, but the first convolution halves the picture: most of a step's time on a CPU goes into full size."""
    inputs, x = _scaled_input()
    x = conv_bn_relu(x, 32, strides=2)
    for index, filters in enumerate((32, 64, 64, 128, 128)):
        x = conv_bn_relu(x, filters)
        if index % 2 == 0:
            x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, _head(x, dropout))


def se_resnet(width: int, blocks: Sequence[int], dropout: float) -> keras.Model:
    """ResNet (He et al., 2016) with squeeze-and-excitation (Hu et al., 2018) and a stem that keeps full size.

    Args:
        width: filters of the stem and the first stage; they double each stage.
        blocks: residual blocks of each stage, of two convolutions each.
        dropout: share of the pooled features that is dropped while training.
    """
    inputs, x = _scaled_input()
    x = conv_bn_relu(x, width)
    for stage, count in enumerate(blocks):
        for block in range(count):
            x = _se_block(x, width << stage, strides=2 if stage and not block else 1)
    return keras.Model(inputs, _head(x, dropout))


def three_block(dropout: float) -> keras.Model:
    """A widespread CNN for FER-2013: three blocks of two convolutions, with dropout growing from block to block.

    Args:
        dropout: of the last layers; the blocks drop half of it, 0.7 and 0.9 of it: .25, .35 and .45 for .5.
    """
    inputs = keras.Input(PIXELS.shape, name=PIXELS.name)
    x = layers.Rescaling(1 / 255)(inputs)
    for filters, share in ((64, 0.5), (128, 0.7), (256, 0.9)):
        x = _conv_relu_bn(x, filters)
        x = _conv_relu_bn(x, filters)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(share * dropout)(x)
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, logits(layers.Dropout(dropout)(x), len(EMOTION_LABELS)))


def deepfer(dropout: float) -> keras.Model:
    """The CNN known as DeepFER: convolutions of 32 and 64, two of 128, two of 256 filters, and a dense layer of 256.

    Args:
        dropout: of the dense layer; the blocks drop half of it.
    """
    inputs = keras.Input(PIXELS.shape, name=PIXELS.name)
    x = layers.Rescaling(1 / 255)(inputs)
    for block in ((32, 64), (128, 128), (256, 256)):
        for filters in block:
            x = _conv_relu_bn(x, filters)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(dropout / 2)(x)
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(dropout)(layers.BatchNormalization()(x))
    return keras.Model(inputs, logits(x, len(EMOTION_LABELS)))


NETWORKS = {
    "vgg_half": Network(lambda dropout: vgg(32, dropout), "four stages of 32 to 256 filters; the shipped one"),
    "vgg8": Network(lambda dropout: vgg(64, dropout), "four stages of 64 to 512 filters"),
    "vgg_small": Network(vgg_small, "half the resolution from the first layer on, for training on a CPU"),
    "se_resnet16": Network(
        lambda dropout: se_resnet(24, (1, 2, 2, 2), dropout), "residual, squeeze-and-excitation, 24 to 192 filters"
    ),
    "se_resnet18": Network(
        lambda dropout: se_resnet(64, (2, 2, 2, 2), dropout), "the same with 64 to 512 filters; a teacher"
    ),
    "three_block": Network(three_block, "three blocks and a dense layer, as widely used with FER-2013"),
    "deepfer": Network(deepfer, "DeepFER's CNN"),
    "resnet50v2": Network(transfer.resnet50v2, "ResNet50V2 in colour, to start from ImageNet's weights", EMOTION_RGB96),
    "speech_linear": Network(speech_networks.linear, "statistics of what a voice does, read linearly", SPEECH_EMOTION),
}
"""The networks by name."""


def build(name: str, dropout: float = 0.0) -> keras.Model:
    """Build a network with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        dropout: the network's dropout rate while training.

    Returns:
        A model, named `name`, from what its ensemble's classifier takes, float32, to (N, K) float32 logits.

    Raises:
        TrainingError: there is no network of that name.
    """
    model = find(name).builder(dropout)
    model.name = name
    return model


def find(name: str) -> Network:
    """The network of that name.

    Raises:
        TrainingError: there is none.
    """
    if name not in NETWORKS:
        message = f"There is no network {name!r}. There are: {', '.join(NETWORKS)}."
        raise TrainingError(message)
    return NETWORKS[name]


def load_weights(model: keras.Model, path: Path) -> None:
    """Load a Keras weights file into `model`.

    Raises:
        TrainingError: the file is not there, or holds the weights of another network.
    """
    if not path.is_file():
        message = f"There is no weights file {path}."
        raise TrainingError(message)
    if path.suffix != ".h5":
        # Keras would open a whole model too, and leave what does not fit as it was.
        message = (
            f"{path} does not hold the weights of {model.name}: give a file of weights, which ends in .weights.h5."
        )
        raise TrainingError(message)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        message = f"{path} does not hold the weights of {model.name}: {reason}"
        raise TrainingError(message) from error


def _scaled_input() -> tuple[KerasTensor, KerasTensor]:
    inputs = keras.Input(PIXELS.shape, name=PIXELS.name)
    return inputs, layers.Rescaling(1 / 64, offset=-2.0)(inputs)


def _conv_relu_bn(x: KerasTensor, filters: int) -> KerasTensor:
    return layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))


def _se_block(x: KerasTensor, filters: int, strides: int) -> KerasTensor:
    branch = conv_bn(conv_bn_relu(x, filters, strides=strides), filters)
    weights = layers.GlobalAveragePooling2D(keepdims=True)(branch)
    weights = layers.Conv2D(filters // 8, 1, activation="relu")(weights)
    weights = layers.Conv2D(filters, 1, activation="sigmoid")(weights)
    branch = layers.Multiply()([branch, weights])
    if strides > 1 or x.shape[-1] != filters:
        x = conv_bn(x, filters, size=1, strides=strides)
    return layers.Activation("relu")(layers.Add()([x, branch]))


def _head(x: KerasTensor, dropout: float) -> KerasTensor:
    return logits(layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x)), len(EMOTION_LABELS))
