"""Samples of any rate and number of channels → what the contract takes: 16 kHz, one channel, -1..1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mien import contract
from mien.errors import SettingsError, TensorError

try:
    import soxr
except ImportError:  # the extra `audio`; sound that has the contract's rate already needs none
    soxr = None

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
"""Below, speech cannot be understood; above there are no recordings of it."""

MAX_CHANNELS = 16

MIN_S = 0.1
"""Less than a syllable holds nothing to recognize."""

LOUDEST = 4.0
"""Floating-point samples may go a little over 1 where sounds were mixed, and are clipped; integers that were turned
into floating-point numbers without being scaled go far over it."""

_FULL_SCALE = {np.dtype(kind): scale for kind, scale in (("i2", 2**15), ("i4", 2**31), ("f4", 1), ("f8", 1))}


def checked_rate(rate: float) -> int:
    """`rate` in Hz as a whole number.

    Raises:
        TensorError: it is none, or out of bounds.
    """
    if not (math.isfinite(rate) and MIN_RATE_HZ <= rate <= MAX_RATE_HZ and rate == int(rate)):
        raise TensorError(
            f"The sample rate is {rate!r}: give whole samples a second, from {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz."
        )
    return int(rate)


def mono(samples: NDArray[Any]) -> NDArray[np.float32]:
    """One channel, (n,) float32 in -1..1: the mean of all channels.

    Args:
        samples: (n,) or (n, channels); int16, int32, or float32 or float64 in -1..1.

    Raises:
        TensorError: it is no such array, or holds numbers that are not finite or too large.
    """
    if not isinstance(samples, np.ndarray):
        raise TensorError(f"Samples must be a NumPy array, not {type(samples).__name__!r}.")
    scale = _FULL_SCALE.get(samples.dtype.newbyteorder("="))
    if scale is None:
        raise TensorError(f"Samples must be int16, int32, float32 or float64, not {samples.dtype}.")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise TensorError(
            f"Samples must have the shape (n,) or (n, channels) with up to {MAX_CHANNELS} channels, not "
            f"{samples.shape}; an array (channels, n) must be transposed."
        )
    mixed = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    channel: NDArray[np.float32] = mixed.astype(np.float32)
    if scale != 1:
        channel /= scale
    if not np.isfinite(channel).all():
        raise TensorError("The samples hold numbers that are not finite (NaN or infinity).")
    if len(channel) and (loudest := float(np.abs(channel).max())) > LOUDEST:
        raise TensorError(
            f"Floating-point samples must be in -1..1, but the largest is {loudest:g}; divide by the largest "
            "value that the integers can have, or pass them as int16."
        )
    return np.clip(channel, -1, 1)


def too_short(name: str, length_s: float) -> str:
    """A sentence about sound of less than `MIN_S`."""
    return f"{name} has only {length_s:.3f} s of sound; at least {MIN_S:g} s are needed."


class Resampler:
    """Brings one channel to 16 kHz piece by piece; the pieces together are as if it had been given at once.

    Args:
        rate: of what is given, in Hz.

    Raises:
        TensorError: the rate is out of bounds.
        SettingsError: it is not 16 kHz, and the extra `audio` is not installed.
    """

    def __init__(self, rate: float) -> None:
        rate = checked_rate(rate)
        self._stream: Any = None
        if rate == contract.SAMPLE_RATE_HZ:
            return
        if soxr is None:
            raise SettingsError(
                f"Sound of {rate:,} Hz is brought to {contract.SAMPLE_RATE_HZ:,} Hz with the extra `audio`: "
                "pip install 'mien[audio]'."
            )
        self._stream = soxr.ResampleStream(rate, contract.SAMPLE_RATE_HZ, 1, dtype="float32")

    def add(self, channel: NDArray[np.float32], *, is_last: bool = False) -> NDArray[np.float32]:
        """(n,) float32 → (m,) float32 in -1..1: what can be told by now; all of it with the last piece."""
        if self._stream is None:
            return channel
        sound: NDArray[np.float32] = self._stream.resample_chunk(channel, last=is_last)
        return np.clip(sound, -1, 1)
