"""From what callers send to what a network sees, as Keras layers: the ones trained with are the ones exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import KerasTensor, ops

from mien.contract import AUDIO, FACES, FUNCTIONALS, PIXELS, PIXELS_RGB
from training.descriptors import Descriptors
from training.functionals import Functionals

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.contract import TensorSpec

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), the ones OpenCV's COLOR_RGB2GRAY uses."""


@keras.saving.register_keras_serializable(package="mien")
class GreyArea(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """RGB to grey and an area-averaging (so antialiased) reduction by a whole factor, in one convolution.

    A row of RGB pixels is read as one row of single values; a kernel `factor` rows high and ``3 * factor`` values wide,
    holding each colour's weight over the number of pixels, then slides without overlap. Reading the tensor so needs no
    transposition, and in ONNX Runtime it was the fastest at batch 1 and 16 of six ways to write the same sum: 64 µs a
    face on one core of a 2.5 GHz Xeon, against 116 µs for a matrix product followed by average pooling.

    Args:
        factor: how many pixels of each side become one.

    Input shape:
        (N, H, W, 3), RGB, any number type, 0..255; H and W are multiples of `factor`.

    Output shape:
        (N, H / factor, W / factor, 1), floating point, grey levels 0..255.
    """

    def __init__(self, factor: int, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self.factor = factor

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Refuse pictures that are not RGB or that `factor` does not divide."""
        _, height, width, channels = input_shape
        if channels != len(LUMA_WEIGHTS) or not height or not width or height % self.factor or width % self.factor:
            message = f"Expected (N, H, W, 3) with sides that are multiples of {self.factor}; got {input_shape}."
            raise ValueError(message)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Reduce a batch of RGB pictures to grey ones."""
        _, height, width, channels = inputs.shape
        values = ops.reshape(ops.cast(inputs, "float32"), (-1, height, width * channels, 1))
        strides = (self.factor, self.factor * channels)
        return ops.conv(values, self._kernel(), strides=strides, padding="valid", data_format="channels_last")

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to make the layer again."""
        return {**super().get_config(), "factor": self.factor}

    def _kernel(self) -> KerasTensor:
        weights = np.tile(np.asarray(LUMA_WEIGHTS, np.float32), (self.factor, self.factor)) / self.factor**2
        return ops.convert_to_tensor(weights[:, :, None, None])


def grey48() -> keras.Model:
    """The model `emotion_preprocess`: crops (N, 96, 96, 3) uint8 RGB to grey levels (N, 48, 48, 1) float32, 0..255."""
    faces = keras.Input(FACES.shape, dtype="uint8", name=FACES.name)
    return keras.Model(faces, GreyArea(FACES.shape[0] // PIXELS.shape[0])(faces), name="grey48")


def rgb96() -> keras.Model:
    """The model `emotion_preprocess_rgb96`: crops (N, 96, 96, 3) uint8 RGB as float32; the network scales them."""
    faces = keras.Input(FACES.shape, dtype="uint8", name=FACES.name)
    return keras.Model(faces, ops.cast(faces, PIXELS_RGB.dtype.name), name="rgb96")


def functionals() -> keras.Model:
    """The model `speech_preprocess`: samples (N, 48000) float32 -1..1 to functionals (N, 1367) float32."""
    audio = keras.Input(AUDIO.shape, dtype="float32", name=AUDIO.name)
    return keras.Model(audio, Functionals()(Descriptors()(audio)), name="functionals")


PREPROCESSING: dict[TensorSpec, Callable[[], keras.Model]] = {
    PIXELS: grey48,
    PIXELS_RGB: rgb96,
    FUNCTIONALS: functionals,
}
"""What makes each input of a network from what callers send."""


def as_input(faces: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
    """A dataset's grey faces as a network takes them, on the device: `training.inputs.as_input` in Keras' operations.

    Args:
        faces: (N, H, W, 1) floating-point grey levels 0..255; what has the network's shape already stays as it is.
        shape: the network's input, without the batch.
    """
    if faces.shape[1:] == shape:
        return faces
    height, width, channels = shape
    if faces.shape[1:3] != (height, width):
        faces = ops.image.resize(faces, (height, width), interpolation="bilinear", data_format="channels_last")
    return faces if faces.shape[-1] == channels else ops.repeat(faces, channels, axis=-1)
