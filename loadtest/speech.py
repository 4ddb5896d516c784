"""What is sent to the ensemble for speech: windows of recordings, or made ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loadtest.errors import LoadTestError
from mien import contract, speech

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def find_recordings(folder: Path) -> tuple[Path, ...]:
    """The recordings of a folder and the folders in it, in order.

    Raises:
        LoadTestError: there is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise LoadTestError(
            f"{folder} holds no recording ({', '.join(SUFFIXES)}). Name a folder that does: --recordings."
        )
    return tuple(path.resolve() for path in found)


def made_windows(count: int) -> NDArray[np.float32]:
    """(count, 48000) float32 of noise: what a window sounds like changes nothing in how long its answer takes."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, *contract.AUDIO.shape)).astype(np.float32)


def cut_windows(recordings: Sequence[Path], count: int) -> NDArray[np.float32]:
    """The first windows of recordings that are not silent, (N, 48000) float32; at most `count`, from as few recordings.

    Raises:
        LoadTestError: all are silent.
        MediaError: one cannot be read.
        SettingsError: the extra `audio` is not installed.
    """
    found: list[NDArray[np.float32]] = []
    for samples in _audible(recordings):
        found.append(samples)
        if len(found) == count:
            break
    if not found:
        raise LoadTestError(f"{len(recordings)} recordings are silent; leave --recordings out to send made windows.")
    return np.stack(found)


def _audible(recordings: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    from mien.recordings import RecordingReader  # here, because it needs an extra

    for path in recordings:
        with RecordingReader(path) as reader:
            for window in speech.cut(reader.sound()):
                if not window.is_silent:
                    yield window.samples
