"""Transfer learning: a network that starts from what it learnt on ImageNet, and is unfrozen stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from mien.contract import EMOTION_LABELS, PIXELS_RGB
from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import Stage

IMAGENET = "imagenet"
_BASE_OUTPUT = "post_relu"


def resnet50v2(dropout: float) -> keras.Model:
    """ResNet50V2 (He et al., "Identity Mappings in Deep Residual Networks", 2016) with a new head.

    The layers of the base are called as in Keras, ``conv1_…`` to ``conv5_…`` and ``post_…``; those of the head
    ``head_…``.

    Args:
        dropout: of the head's hidden layer.
    """
    inputs = keras.Input(PIXELS_RGB.shape, name=PIXELS_RGB.name)
    # float32 also under mixed precision: bfloat16 has fewer steps than 256 levels need.
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32")(inputs)
    base = keras.applications.ResNet50V2(include_top=False, weights=None, input_tensor=scaled)
    x = layers.GlobalAveragePooling2D(name="head_pool")(base.output)
    x = layers.Dense(256, activation="relu", name="head_dense")(x)
    x = layers.Dropout(dropout, name="head_dropout")(layers.BatchNormalization(name="head_bn")(x))
    return keras.Model(inputs, layers.Dense(len(EMOTION_LABELS), dtype="float32", name="head_logits")(x))


def load_imagenet(network: keras.Model, path: Path | None = None) -> None:
    """Give the base of a `resnet50v2` ImageNet's weights.

    Args:
        network: the head stays as it is.
        path: Keras' file of ResNet50V2 without its top; None takes it from Keras' cache or downloads it.

    Raises:
        TrainingError: the network has no such base, the download fails or the file does not fit.
    """
    if _BASE_OUTPUT not in {layer.name for layer in network.layers}:
        message = f"{network.name} has no weights from ImageNet; set pretrained=None or use resnet50v2."
        raise TrainingError(message)
    try:
        source = keras.applications.ResNet50V2(
            include_top=False, weights=path or IMAGENET, input_shape=PIXELS_RGB.shape
        )
    except Exception as error:  # Keras raises a bare one if it cannot download
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(_failure(path, reason)) from error
    keras.Model(network.inputs, network.get_layer(_BASE_OUTPUT).output).set_weights(source.get_weights())


def set_trainable(network: keras.Model, stage: Stage) -> None:
    """Let the layers that `stage` names learn and freeze the others, whose batch normalization then runs as in use.

    What was compiled before keeps to the old setting: compile again.

    Raises:
        TrainingError: no layer's name begins as the stage says.
    """
    names = [layer.name for layer in network.layers if layer.weights]
    for beginning in stage.trainable or ():
        if not any(name.startswith(beginning) for name in names):
            blocks = ", ".join(dict.fromkeys(name.partition("_")[0] for name in names))
            message = (
                f"The stage from epoch {stage.epoch} lets {beginning!r} learn, but no layer of {network.name} is called"
                f" so. Their names begin with: {blocks}."
            )
            raise TrainingError(message)
    for layer in network.layers:
        layer.trainable = stage.trainable is None or layer.name.startswith(stage.trainable)


def _failure(path: Path | None, reason: str) -> str:
    if path is not None:
        return f"{path} does not hold the weights of ResNet50V2 without its top: {reason}"
    return (
        f"ImageNet's weights cannot be downloaded ({reason}). Download Keras' file elsewhere and set pretrained to its"
        " path, or set pretrained=None to start from random weights."
    )
