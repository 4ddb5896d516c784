"""Sound, 16 kHz and one channel, cut into the windows of 3 s that the ensemble takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien import contract
from mien.errors import SettingsError, TensorError
from mien.results import SpeechWindow
from mien.samples import MIN_S, Resampler, mono, too_short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.results import Predictions

LENGTH = contract.AUDIO.shape[0]

SILENCE_DBFS = -60.0
"""A window is silent if no tenth of a second of it is louder (root mean square; a full-scale square wave has 0). The
ensemble answers whatever it gets, and there it would be about noise."""

_SILENCE_POWER = 10 ** (SILENCE_DBFS / 10)
_STRETCH = contract.SAMPLE_RATE_HZ // 10
_LEAST = int(MIN_S * contract.SAMPLE_RATE_HZ)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of sound.

    Attributes:
        start_s: where it begins in the recording.
        end_s: where the sound in it ends; zeros follow in a recording of less than 3 s.
        samples: (48000,) float32, -1..1.
        is_silent: whether there is nothing to hear in it.
    """

    start_s: float
    end_s: float
    samples: NDArray[np.float32]
    is_silent: bool


class Windows:
    """Cuts sound that comes piece by piece.

    Args:
        hop_s: from the beginning of one window to that of the next.

    Raises:
        SettingsError: `hop_s` would leave sound out, or make more windows than there is anything new in.
    """

    def __init__(self, hop_s: float = contract.WINDOW_HOP_S) -> None:
        if not MIN_S <= hop_s <= contract.WINDOW_S:
            raise SettingsError(f"hop_s is {hop_s!r}: give seconds from {MIN_S:g} to {contract.WINDOW_S:g}.")
        self._hop = round(hop_s * contract.SAMPLE_RATE_HZ)
        self._sound = np.zeros(0, np.float32)
        self._start = 0
        """Of `_sound` in the recording: where the last window began."""
        self._due = 0
        """Where the next begins in `_sound`."""

    @property
    def length_s(self) -> float:
        """Seconds of sound so far."""
        return (self._start + len(self._sound)) / contract.SAMPLE_RATE_HZ

    def add(self, sound: NDArray[np.float32]) -> list[Window]:
        """The windows that are full now."""
        self._sound = np.concatenate([self._sound, sound])
        full = []
        while len(self._sound) - self._due >= LENGTH:
            self._start += self._due
            self._sound, self._due = self._sound[self._due :], self._hop
            full.append(self._window(0))
        return full

    def finish(self) -> list[Window]:
        """The last window, if one is left: it ends where the sound ends, and zeros follow sound of less than 3 s.

        There is none of less than `MIN_S`.
        """
        if not self._due:
            return [self._window(0)] if len(self._sound) >= _LEAST else []
        rest = len(self._sound) - LENGTH
        return [self._window(rest)] if rest else []

    def _window(self, start: int) -> Window:
        sound = self._sound[start : start + LENGTH]
        samples = np.zeros(LENGTH, np.float32)
        samples[: len(sound)] = sound
        loudest = np.square(samples).reshape(-1, _STRETCH).mean(axis=1).max()
        first, rate = self._start + start, contract.SAMPLE_RATE_HZ
        return Window(first / rate, (first + len(sound)) / rate, samples, bool(loudest < _SILENCE_POWER))


def of_recording(samples: NDArray[Any], rate: float, hop_s: float) -> list[Window]:
    """The windows of a whole recording, at least one.

    Args:
        samples: see `mien.samples.mono`.
        rate: samples a second.
        hop_s: from the beginning of one window to that of the next.

    Raises:
        TensorError: samples or rate cannot be used, or they are shorter than 0.1 s.
        SettingsError: `hop_s` is out of bounds, or a resampler is needed and not installed.
    """
    windows = Windows(hop_s)
    sound = Resampler(rate).add(mono(samples), is_last=True)
    cut = [*windows.add(sound), *windows.finish()]
    if not cut:
        raise TensorError(too_short("The recording", windows.length_s))
    return cut


def stacked(windows: Sequence[Window]) -> NDArray[np.float32]:
    """The sound of those that are not silent: (N, 48000) float32; N may be 0."""
    sound = [window.samples for window in windows if not window.is_silent]
    return np.stack(sound) if sound else np.zeros((0, LENGTH), np.float32)


def answered(windows: Sequence[Window], answer: Predictions) -> tuple[SpeechWindow, ...]:
    """The windows with the answer to those that `stacked` gave."""
    rows = iter(range(len(answer)))
    return tuple(
        SpeechWindow(window.start_s, window.end_s, None if window.is_silent else answer[next(rows)])
        for window in windows
    )
