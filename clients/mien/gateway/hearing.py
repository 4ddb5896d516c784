"""What happens inside a worker process for sound: a stranger's file is decoded and cut into windows.

The process is for one recording, or for the sound of one video; nothing here asks the model server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from mien import speech
from mien.errors import MediaError, SettingsError
from mien.gateway import memory
from mien.recordings import RecordingReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mien.gateway.decoding import WorkerLimits
    from mien.windows import Window


class SoundReader(Protocol):
    """A file that is open: see `mien.recordings` and `mien.sound_tracks`."""

    @property
    def duration_s(self) -> float | None:
        """Seconds that the file declares; None if it does not."""

    def sound(self) -> Iterator[NDArray[np.float32]]:
        """Its sound: pieces of (n,) float32 in -1..1, 16 kHz."""


class Hearer:
    """Decodes one file in the process it is made in, and confines that process."""

    def __init__(self, limits: WorkerLimits) -> None:
        os.nice(limits.niceness)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write about damage there
        memory.limit(limits.memory_bytes)
        self._path = self._name = ""
        self._batches: Iterator[list[Window]] = iter(())

    def open_recording(self, path: Path) -> float | None:
        """Open the recording that this process is for; the seconds that it declares, if it does.

        Raises:
            MediaError: it cannot be used.
        """
        return self._open(RecordingReader, path, "The recording")

    def open_sound_track(self, path: Path) -> float | None:
        """Open the sound of the video that this process is for; the seconds that the video declares, if it does.

        Raises:
            MediaError: it has none, it cannot be used, or the package that reads it is not installed.
        """
        try:
            from mien.sound_tracks import SoundTrackReader  # here, because it needs an extra
        except SettingsError as error:
            raise MediaError("This gateway does not read the sound of videos: it has no decoder for it.") from error
        return self._open(SoundTrackReader, path, "The video")

    def next_windows(self) -> list[Window]:
        """The next windows, in order; none at the end.

        Raises:
            MediaError: the file is damaged, ends long before it says, or has less than 0.1 s of sound; all windows
                before that were given.
        """
        try:
            return next(self._batches, [])
        except MediaError as error:
            raise self._telling(error) from error

    def rest(self) -> None:
        """There is nothing to give back: the process ends with its file."""

    def _open(self, create: Callable[[Path], SoundReader], path: Path, name: str) -> float | None:
        self._path, self._name = str(path), name
        try:
            reader = create(path)
        except MediaError as error:
            raise self._telling(error) from error
        self._batches = speech.batches(reader.sound())
        return reader.duration_s

    def _telling(self, error: MediaError) -> MediaError:
        """Where the gateway keeps the file is not for its callers."""
        return type(error)(str(error).replace(self._path, self._name))
