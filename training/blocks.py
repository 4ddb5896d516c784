"""What networks are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras import layers

if TYPE_CHECKING:
    from keras import KerasTensor


def conv_bn(x: KerasTensor, filters: int, size: int = 3, strides: int | tuple[int, int] = 1) -> KerasTensor:
    """A convolution and batch normalization."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def conv_bn_relu(x: KerasTensor, filters: int, size: int = 3, strides: int | tuple[int, int] = 1) -> KerasTensor:
    """The same, and what is negative becomes 0."""
    return layers.Activation("relu")(conv_bn(x, filters, size, strides))


def logits(x: KerasTensor, classes: int) -> KerasTensor:
    """The last layer."""
    # float32 also under mixed precision: a softmax over half-precision logits loses the small probabilities.
    return layers.Dense(classes, dtype="float32", name="logits")(x)
