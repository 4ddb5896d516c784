"""Spectra of short frames and their mel bands, as matrix products, so that they export to plain ONNX operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from mien.contract import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from keras import KerasTensor
    from numpy.typing import NDArray

FRAME_LENGTH = 1024
"""Samples of a frame, 64 ms: five periods of the lowest voice."""

HOP_LENGTH = 320
"""Samples from one frame to the next, 20 ms."""

BINS = FRAME_LENGTH // 2 + 1
"""Frequencies of a spectrum, from 0 Hz to half the sample rate."""

TOP_DB = 80.0
"""What is this far below the loudest, or farther, counts as silence."""

LEAST_ENERGY = 1e-10
"""What is less counts as this much."""

_BLOCK = 64
"""Samples; frame and hop are multiples of it."""

_LINEAR_TO_HZ = 1000.0
_HZ_A_MEL = 200 / 3
_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, from there a factor of 6.4 every 27 mel."""


def power_spectra(samples: KerasTensor) -> KerasTensor:
    """Squared magnitudes of the spectra of overlapping frames.

    The same as ``abs(librosa.stft(y, n_fft=1024, hop_length=320)) ** 2``: a periodic Hann window, frames centred on
    multiples of the hop, with zeros beyond both ends. The window is even about its middle, so cosines need only the
    sums of two mirrored samples, and sines their differences: half the products of a whole transform.

    Args:
        samples: (N, samples) float32; samples is a multiple of `HOP_LENGTH`.

    Returns:
        (N, samples / HOP_LENGTH + 1, BINS) float32.
    """
    half = FRAME_LENGTH // 2
    count = samples.shape[1] // HOP_LENGTH + 1
    # Frames are gathered in blocks, because to gather single samples takes longer than the transform.
    blocks = ops.reshape(
        ops.pad(samples, ((0, 0), (half, half))), (-1, (samples.shape[1] + 2 * half) // _BLOCK, _BLOCK)
    )
    places = np.arange(count)[:, None] * (HOP_LENGTH // _BLOCK) + np.arange(FRAME_LENGTH // _BLOCK)
    frames = ops.reshape(ops.take(blocks, places, axis=1), (-1, count, FRAME_LENGTH))
    before, behind = frames[..., 1 : half + 1], frames[..., : half - 1 : -1]
    cosines, sines = (ops.convert_to_tensor(kernel) for kernel in fourier_kernels())
    return ops.square(ops.matmul(before + behind, cosines)) + ops.square(ops.matmul(before - behind, sines))


def decibels(energy: KerasTensor) -> KerasTensor:
    """Energy as level in dB."""
    return (10 / np.log(10)) * ops.log(ops.maximum(energy, LEAST_ENERGY))


def below_loudest(energy: KerasTensor) -> KerasTensor:
    """Energies (N, frames, bands) as levels against the loudest of each window, -80..0 dB; of zeros, all are 0.

    The same as ``librosa.power_to_db(energy, ref=np.max)``.
    """
    levels = decibels(energy)
    return ops.maximum(levels - ops.max(levels, axis=(1, 2), keepdims=True), -TOP_DB)


def frequencies_hz() -> NDArray[np.float32]:
    """Of the bins of a spectrum, (BINS,)."""
    return np.linspace(0, SAMPLE_RATE_HZ / 2, BINS, dtype=np.float32)


def fourier_kernels() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines for the first half of a frame without its first sample, (FRAME_LENGTH / 2, BINS) each."""
    time = np.arange(1, FRAME_LENGTH // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / FRAME_LENGTH)
    window[-1] /= 2  # the middle is its own mirror image, so the sum counts it twice
    phase = 2 * np.pi * np.outer(time, np.arange(BINS)) / FRAME_LENGTH
    cosines, sines = (np.asarray(window[:, None] * wave(phase), np.float32) for wave in (np.cos, np.sin))
    return cosines, sines


def mel_filters(bands: int) -> NDArray[np.float32]:
    """Weights of each frequency in each band from 0 Hz up, (BINS, bands): triangles of equal area, as librosa's."""
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, BINS)[:, None]
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
