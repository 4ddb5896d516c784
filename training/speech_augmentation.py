"""Random changes to voices: copies of the recordings, changed in their samples, that a network is fitted to as well.

Pitch, harmonicity and statistics of a changed recording are those of what is then heard, which no change of its
descriptors would give. The copies are made once, before the preprocessing, and serve all epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.dataset import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CURVE = 6
"""Frequencies at which a microphone's response is drawn; between them it is smooth."""


@dataclass(frozen=True)
class SpeechAugmentation:
    """How many changed copies there are and how strong the changes; 0 turns a change off.

    Attributes:
        copies: of each recording.
        speed: largest relative change of speed, either way; pitch and formants go with it, as with another tape speed.
        microphone_db: standard deviation of a smooth change of the spectrum.
        noise_db: level of the quietest and the loudest white noise, against full scale.
    """

    copies: int = 2
    speed: float = 0.16
    microphone_db: float = 4.0
    noise_db: tuple[float, float] = (-90.0, -50.0)

    def layer(self, seed: int) -> None:
        """Nothing is left to be changed in a step."""
        del seed

    def enlarged(self, split: Split, seed: int) -> Split:
        """The recordings and, behind them, their copies.

        Args:
            split: with windows of (N, 48000) samples.
            seed: the same seed gives the same copies.
        """
        rng = np.random.default_rng(seed)
        copies = [self._changed(window, rng) for _ in range(self.copies) for window in split.examples]
        rows = np.tile(np.arange(len(split)), 1 + self.copies)
        again = split.take(rows)
        return Split(np.stack([*split.examples, *copies]), again.labels, again.names, again.speakers)

    def _changed(self, window: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        faster = np.exp(rng.uniform(-self.speed, self.speed))
        time = np.arange(len(window))
        spoken = np.interp(time * faster, time, window, right=0.0)
        response_db = np.interp(
            np.linspace(0, 1, len(window) // 2 + 1),
            np.linspace(0, 1, _CURVE),
            rng.normal(0, self.microphone_db, _CURVE),
        )
        heard = np.fft.irfft(np.fft.rfft(spoken) * 10 ** (response_db / 20), len(window))
        noise = 10 ** (rng.uniform(*self.noise_db) / 20) * rng.normal(size=len(window))
        return np.asarray(heard + noise, np.float32)
