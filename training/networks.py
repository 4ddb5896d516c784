"""The networks by name. Each takes grey levels 0..255 and gives logits; its first layer scales them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, layers

from mien.contract import EMOTION_LABELS, PIXELS
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def vgg(width: int, dropout: float) -> keras.Model:
    """VGG-like: four stages of two 3 x 3 convolutions, then global average pooling; the filters double each stage.

    Args:
        width: filters of the first stage.
        dropout: share of the pooled features that is dropped while training.
    """
    inputs = keras.Input(PIXELS.shape, name=PIXELS.name)
    x = layers.Rescaling(1 / 64, offset=-2.0)(inputs)
    for stage in range(4):
        x = _conv_bn_relu(x, width << stage)
        x = _conv_bn_relu(x, width << stage)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, _logits(x))


NETWORKS: dict[str, Callable[[float], keras.Model]] = {
    "vgg_half": lambda dropout: vgg(32, dropout),  # 1.2 M parameters, 117 M multiply-adds
}
"""Builders by name; each takes the dropout rate."""


def build(name: str, dropout: float = 0.0) -> keras.Model:
    """Build a network with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        dropout: the network's dropout rate while training.

    Returns:
        A model from (N, 48, 48, 1) float32 grey levels 0..255 to (N, 7) float32 logits, named `name`.

    Raises:
        TrainingError: there is no network of that name.
    """
    if name not in NETWORKS:
        message = f"There is no network {name!r}. There are: {', '.join(NETWORKS)}."
        raise TrainingError(message)
    model = NETWORKS[name](dropout)
    model.name = name
    return model


def load_weights(model: keras.Model, path: Path) -> None:
    """Load a Keras weights file into `model`.

    Raises:
        TrainingError: the file is not there, or holds the weights of another network.
    """
    if not path.is_file():
        message = f"There is no weights file {path}."
        raise TrainingError(message)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        message = f"{path} does not hold the weights of {model.name}: {reason}"
        raise TrainingError(message) from error


def _conv_bn_relu(x: KerasTensor, filters: int) -> KerasTensor:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.Activation("relu")(x)


def _logits(x: KerasTensor) -> KerasTensor:
    # float32 also under mixed precision: a softmax over half-precision logits loses the small probabilities.
    return layers.Dense(len(EMOTION_LABELS), dtype="float32", name="logits")(x)
