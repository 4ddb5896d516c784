"""Statistics over the frames of a recording, as a Keras layer: functionals, in the words of the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from training.descriptors import NAMES

if TYPE_CHECKING:
    from keras import KerasTensor

SPOKEN_DB = -45.0
"""Frames whose loudest band is below this, against the loudest of the window, are pauses."""

VOICED = 0.5
"""Spoken frames of a higher harmonicity have a pitch."""

FEWEST_FRAMES = 8
"""Of fewer no statistics are made; all frames stand in for the spoken ones, and the spoken for the voiced."""

PERCENTILES = (2, 10, 25, 50, 75, 90, 98)

_BEHIND = 1e6
"""Where frames that do not count are sorted to."""

_LEVEL, _PITCH, _HARMONICITY = (NAMES.index(name) for name in ("level", "pitch", "harmonicity"))


@keras.saving.register_keras_serializable(package="mien")
class Functionals(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Describes a recording by statistics of its frames' descriptors, of whatever length it is.

    Of each descriptor and of its change from frame to frame, over the spoken frames: what `statistics` lists, and the
    mean size of the change; of the pitch also over the voiced frames alone; and the rhythm of speaking. What is silent,
    so also the zeros behind a short recording, counts nowhere.

    Input shape:
        (N, frames, len(NAMES)), what `training.descriptors.Descriptors` gives.

    Output shape:
        (N, functionals) float32, each in the unit of its descriptor.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Describe a batch of recordings."""
        frames = ops.cast(inputs, "float32")
        spoken = _or_if_few(frames[..., _LEVEL : _LEVEL + 1] > SPOKEN_DB, 1.0)
        harmonic = frames[..., _HARMONICITY : _HARMONICITY + 1] > VOICED
        voiced = _or_if_few(ops.logical_and(harmonic, spoken > 0), spoken)
        changes = _changes(frames)
        pitch = ops.concatenate([part[..., _PITCH : _PITCH + 1] for part in (frames, changes)], axis=2)
        return ops.concatenate(
            [
                statistics(ops.concatenate([frames, changes], axis=2), spoken),
                _mean(ops.abs(changes), spoken)[:, 0],
                statistics(pitch, voiced),
                rhythm(spoken, voiced),
            ],
            axis=1,
        )


def statistics(values: KerasTensor, counted: KerasTensor) -> KerasTensor:
    """Mean, deviation, skewness, kurtosis, slope, rising share, crossings of the mean, percentiles and three ranges.

    Args:
        values: (N, frames, K).
        counted: (N, frames, 1), 1 for the frames that count and 0 for the others; at least two count.

    Returns:
        (N, 17 x K).
    """
    count = ops.sum(counted, axis=1, keepdims=True)
    mean = _mean(values, counted)
    centred = (values - mean) * counted
    deviation = ops.sqrt(_mean(ops.square(centred), counted)) + 1e-6
    scaled = centred / deviation
    squares = ops.square(scaled)
    skewness, kurtosis = _mean(squares * scaled, counted), _mean(ops.square(squares), counted)
    # Time runs from -1 at the first frame that counts to 1 at the last; pauses take none.
    time = (2 * (ops.cumsum(counted, axis=1) - 1) / (count - 1) - 1) * counted
    slope = ops.sum(time * centred, axis=1, keepdims=True) / ops.sum(ops.square(time), axis=1, keepdims=True)
    pairs = counted[:, 1:] * counted[:, :-1]
    rising = _mean(ops.cast(values[:, 1:] > values[:, :-1], "float32"), pairs)
    crossing = _mean(ops.cast(centred[:, 1:] * centred[:, :-1] < 0, "float32"), pairs)
    spread = _percentiles(values, counted)
    low, first, lower, _, upper, last, high = (spread[:, i : i + 1] for i in range(len(PERCENTILES)))
    ranges = [upper - lower, last - first, high - low]
    together = [mean, deviation, skewness, kurtosis, slope, rising, crossing, spread, *ranges]
    rows = 7 + len(PERCENTILES) + len(ranges)
    return ops.reshape(ops.concatenate(together, axis=1), (-1, rows * values.shape[2]))


def rhythm(spoken: KerasTensor, voiced: KerasTensor) -> KerasTensor:
    """Voiced share of the spoken frames, voiced stretches a spoken frame and frames a voiced stretch, (N, 3)."""
    starts = ops.sum(voiced[:, 1:] * (1 - voiced[:, :-1]), axis=1) + voiced[:, 0]
    speech, voice = ops.sum(spoken, axis=1), ops.sum(voiced, axis=1)
    return ops.concatenate([voice / speech, starts / speech, voice / ops.maximum(starts, 1.0)], axis=1)


def _or_if_few(frames: KerasTensor, others: KerasTensor | float) -> KerasTensor:
    counted = ops.cast(frames, "float32")
    return ops.where(ops.sum(counted, axis=1, keepdims=True) < FEWEST_FRAMES, others, counted)


def _changes(frames: KerasTensor) -> KerasTensor:
    """Half of the difference between the next frame and the one before."""
    longer = ops.concatenate([frames[:, :1], frames, frames[:, -1:]], axis=1)
    return (longer[:, 2:] - longer[:, :-2]) / 2


def _mean(values: KerasTensor, counted: KerasTensor) -> KerasTensor:
    total = ops.maximum(ops.sum(counted, axis=1, keepdims=True), 1.0)
    return ops.sum(values * counted, axis=1, keepdims=True) / total


def _percentiles(values: KerasTensor, counted: KerasTensor) -> KerasTensor:
    """(N, percentiles, K), between two frames in proportion, as NumPy's."""
    ordered = ops.sort(ops.transpose(ops.where(counted > 0, values, _BEHIND), (0, 2, 1)), axis=2)
    last = ops.sum(counted, axis=1, keepdims=True) - 1
    places = last * ops.convert_to_tensor(np.asarray(PERCENTILES, np.float32) / 100)
    frames = ops.convert_to_tensor(np.arange(values.shape[1], dtype=np.float32))
    # Each place lies between two whole numbers, which share it.
    shares = ops.maximum(1 - ops.abs(frames[None, :, None] - places), 0.0)
    return ops.transpose(ops.matmul(ordered, shares), (0, 2, 1))
