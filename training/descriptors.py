"""What a voice does from frame to frame, as one Keras layer: low-level descriptors, in the words of the field.

Mel bands say which sounds are made; the descriptors beside them say how: how high the voice is and how harmonic, where
the energy of its spectrum lies, how fast that changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from mien.contract import SAMPLE_RATE_HZ
from training.spectrogram import (
    BINS,
    FRAME_LENGTH,
    HOP_LENGTH,
    LEAST_ENERGY,
    below_loudest,
    decibels,
    frequencies_hz,
    mel_filters,
    power_spectra,
)

if TYPE_CHECKING:
    from keras import KerasTensor
    from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 75, 500
"""Of a voice's fundamental frequency."""

MEL_BANDS = 26
"""From 0 Hz to half the sample rate."""

REFERENCE_HZ = 100.0
"""A fundamental frequency of this many Hz is 0 octaves."""

ROLL_OFFS = (0.25, 0.5, 0.9)
"""Shares of the energy below the frequencies that are given."""

NAMES = (
    *(f"mel_{band}" for band in range(MEL_BANDS)),
    "level",
    "pitch",
    "harmonicity",
    "centroid",
    "spread",
    "entropy",
    *(f"roll_off_{share:.0%}" for share in ROLL_OFFS),
    "tilt",
    "flux",
    "zero_crossings",
)
"""The last axis of what `Descriptors` gives."""

_QUIETEST = 1e-5
"""Peak of a window that is not made louder still: half the smallest step of 16 bits."""

_LAGS = np.arange(SAMPLE_RATE_HZ // HIGHEST_HZ, SAMPLE_RATE_HZ // LOWEST_HZ + 1)
_KHZ = 1e-3


@keras.saving.register_keras_serializable(package="mien")
class Descriptors(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Describes speech every 20 ms, in frames of 64 ms.

    - ``mel_…``: energy of 26 mel bands in dB below the loudest of the window, -80..0; as librosa's ``melspectrogram``
      and ``power_to_db``.
    - ``level``: the loudest of the bands.
    - ``pitch``: the fundamental frequency in octaves above 100 Hz, where the autocorrelation has its peak.
    - ``harmonicity``: that peak, -1..1; near 1 in vowels, low in hisses and pauses.
    - ``centroid``, ``spread``: mean and deviation of the frequency, weighted by energy, in kHz; as librosa's
      ``spectral_centroid`` and ``spectral_bandwidth`` of squared magnitudes.
    - ``entropy``: of the spectrum as a distribution, in nats; the flatter, the higher.
    - ``roll_off_…``: below it lies that share of the energy, kHz; as librosa's ``spectral_rolloff``.
    - ``tilt``: energy from 1 to 5 kHz against that below 1 kHz, in dB (the alpha ratio of the GeMAPS; Eyben et al.,
      2016).
    - ``flux``: Hellinger distance, times the root of 2, from the spectrum of the frame before.
    - ``zero_crossings``: share of the samples with the opposite sign of the one before; as librosa's.

    Input shape:
        (N, samples), floating point, of one channel at 16 kHz; samples is a multiple of the hop.

    Output shape:
        (N, samples / 320 + 1, len(NAMES)) float32.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Describe a batch of windows."""
        samples = ops.cast(inputs, "float32")
        samples = samples / ops.maximum(ops.max(ops.abs(samples), axis=1, keepdims=True), _QUIETEST)
        power = power_spectra(samples)
        mel = below_loudest(ops.matmul(power, ops.convert_to_tensor(mel_filters(MEL_BANDS))))
        described = [
            mel,
            ops.max(mel, axis=2, keepdims=True),
            *_voice(power),
            *_spectrum(power),
            _zero_crossings(samples),
        ]
        return ops.concatenate(described, axis=2)


def autocorrelation(power: KerasTensor) -> KerasTensor:
    """Autocorrelations of frames at the lags of voices, against lag 0, without what the Hann window takes away.

    The inverse Fourier transform of the power spectrum. It is circular, but at these lags the ends of two windowed
    frames that come to lie on each other are near 0.

    Args:
        power: (N, frames, BINS).

    Returns:
        (N, frames, lags), -1..1 but for rounding.
    """
    products = ops.matmul(power, ops.convert_to_tensor(_inverse_transform()))
    return products[..., 1:] / ops.maximum(products[..., :1], LEAST_ENERGY)


def _voice(power: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Pitch and harmonicity, (N, frames, 1) each."""
    correlation = autocorrelation(power)
    peak = ops.max(correlation, axis=2, keepdims=True)
    octaves = np.log2(SAMPLE_RATE_HZ / _LAGS / REFERENCE_HZ).astype(np.float32)
    # Keras' argmax looks into the bits of its numbers, for which ONNX has no operator in this version.
    pitch = ops.max(ops.where(correlation >= peak, ops.convert_to_tensor(octaves), octaves[-1]), axis=2, keepdims=True)
    return pitch, peak


def _spectrum(power: KerasTensor) -> list[KerasTensor]:
    """From the centroid to the flux, (N, frames, …) each."""
    total = ops.maximum(ops.sum(power, axis=2, keepdims=True), LEAST_ENERGY)
    share = power / total
    khz = frequencies_hz() * _KHZ
    first, second = np.stack([khz, khz**2], axis=1)[..., None].transpose(1, 0, 2)
    centroid = ops.matmul(share, ops.convert_to_tensor(first))
    spread = ops.sqrt(ops.maximum(ops.matmul(share, ops.convert_to_tensor(second)) - ops.square(centroid), 0.0))
    entropy = -ops.sum(share * ops.log(share + LEAST_ENERGY), axis=2, keepdims=True)
    below = ops.cumsum(share, axis=2)
    bin_khz = SAMPLE_RATE_HZ / FRAME_LENGTH * _KHZ
    roll_offs = [bin_khz * ops.sum(ops.cast(below < part, "float32"), axis=2, keepdims=True) for part in ROLL_OFFS]
    low, high = ((khz < 1).astype(np.float32), ((khz > 1) & (khz < 5)).astype(np.float32))
    energies = ops.matmul(power, ops.convert_to_tensor(np.stack([high, low], axis=1)))
    tilt = decibels(energies[..., :1]) - decibels(energies[..., 1:])
    roots = ops.sqrt(share)
    change = ops.sum(ops.square(roots[:, 1:] - roots[:, :-1]), axis=2, keepdims=True)
    flux = ops.pad(ops.sqrt(change), ((0, 0), (1, 0), (0, 0)))
    return [centroid, spread, entropy, *roll_offs, tilt, flux]


def _zero_crossings(samples: KerasTensor) -> KerasTensor:
    crossings = ops.cast(samples[:, 1:] * samples[:, :-1] < 0, "float32")
    half = FRAME_LENGTH // 2
    padded = ops.pad(ops.expand_dims(crossings, -1), ((0, 0), (half + 1, half), (0, 0)))
    shares = ops.average_pool(padded, FRAME_LENGTH, HOP_LENGTH, "valid", data_format="channels_last")
    return ops.reshape(shares, (-1, samples.shape[1] // HOP_LENGTH + 1, 1))


def _inverse_transform() -> NDArray[np.float32]:
    """(BINS, 1 + lags): cosines that give the autocorrelation at 0 and at the lags, over the window's own."""
    lags = np.concatenate([[0], _LAGS])
    weights = np.full(BINS, 2.0)
    weights[[0, -1]] = 1.0
    cosines = weights[:, None] * np.cos(2 * np.pi * np.outer(np.arange(BINS), lags) / FRAME_LENGTH) / FRAME_LENGTH
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_LENGTH) / FRAME_LENGTH)
    overlap = np.array([window[: FRAME_LENGTH - lag] @ window[lag:] for lag in lags])
    return np.asarray(cosines * overlap[0] / overlap, np.float32)
