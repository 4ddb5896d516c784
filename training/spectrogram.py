"""Energies of mel bands as one Keras layer of matrix products, so that it exports to plain ONNX operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import KerasTensor, ops

from mien.contract import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

FFT_LENGTH = 512
"""Samples of a frame, 32 ms."""

HOP_LENGTH = 320
"""Samples from one frame to the next, 20 ms."""

TOP_DB = 80.0
"""What is this far below the loudest, or farther, counts as silence."""

_LEAST_ENERGY = 1e-10
"""Of a window of zeros, which has no loudest band."""

_LINEAR_TO_HZ = 1000.0
_HZ_A_MEL = 200 / 3
_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, from there a factor of 6.4 every 27 mel."""


@keras.saving.register_keras_serializable(package="mien")
class LogMel(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """A mel spectrogram in dB below its loudest value.

    The same as librosa's ``power_to_db(melspectrogram(y=…, sr=16000, n_fft=512, hop_length=320, n_mels=bands),
    ref=np.max)``: a periodic Hann window, frames centred on multiples of the hop with zeros beyond both ends, squared
    magnitudes, Slaney's mel bands of equal area. The windowed Fourier transform is one convolution.

    Args:
        bands: how many, from 0 Hz to half the sample rate.

    Input shape:
        (N, samples), floating point, of one channel at 16 kHz; samples is a multiple of `HOP_LENGTH`.

    Output shape:
        (N, samples / HOP_LENGTH + 1, bands) float32, -80..0 dB. All are 0 where all samples are.
    """

    def __init__(self, bands: int, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self.bands = bands

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Transform a batch of windows."""
        samples = ops.expand_dims(ops.cast(inputs, "float32"), -1)
        padded = ops.pad(samples, ((0, 0), (FFT_LENGTH // 2, FFT_LENGTH // 2), (0, 0)))
        spectrum = ops.conv(
            padded,
            ops.convert_to_tensor(fourier_kernel()),
            strides=HOP_LENGTH,
            padding="valid",
            data_format="channels_last",
        )
        squares = ops.square(spectrum)
        mel = ops.convert_to_tensor(mel_filters(self.bands))
        energy = ops.matmul(squares, ops.concatenate([mel, mel]))
        loudest = ops.max(energy, axis=(1, 2), keepdims=True)
        decibels = (10 / np.log(10)) * (
            ops.log(ops.maximum(energy, _LEAST_ENERGY)) - ops.log(ops.maximum(loudest, _LEAST_ENERGY))
        )
        # The reshaping says what the graph's shape inference loses on its way.
        return ops.reshape(ops.maximum(decibels, -TOP_DB), (-1, inputs.shape[1] // HOP_LENGTH + 1, self.bands))

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to make the layer again."""
        return {**super().get_config(), "bands": self.bands}


def fourier_kernel() -> NDArray[np.float32]:
    """The windowed transform of a frame as a convolution's kernel, (FFT_LENGTH, 1, 2 x bins): cosines, then sines."""
    time = np.arange(FFT_LENGTH)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / FFT_LENGTH)
    phase = 2 * np.pi * np.outer(time, np.arange(FFT_LENGTH // 2 + 1)) / FFT_LENGTH
    kernel = window[:, None] * np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return np.asarray(kernel[:, None, :], np.float32)


def mel_filters(bands: int) -> NDArray[np.float32]:
    """Weights of each frequency bin in each band, (FFT_LENGTH // 2 + 1, bands): triangles of equal area in Hz."""
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_LENGTH // 2 + 1)[:, None]
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLE_RATE_HZ / 2), bands + 2))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * 2 / (right - left), np.float32)


def _hz_to_mel(hz: float) -> float:
    if hz < _LINEAR_TO_HZ:
        return hz / _HZ_A_MEL
    return float(_LINEAR_TO_HZ / _HZ_A_MEL + np.log(hz / _LINEAR_TO_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    bend = _LINEAR_TO_HZ / _HZ_A_MEL
    return np.where(mel < bend, mel * _HZ_A_MEL, _LINEAR_TO_HZ * np.exp(_LOG_STEP * (mel - bend)))
