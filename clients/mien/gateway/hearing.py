"""What happens inside a worker process for a recording: a stranger's file is decoded and cut into windows.

The process is for one recording; nothing here asks the model server.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from mien import speech
from mien.errors import MediaError
from mien.gateway import memory
from mien.recordings import RecordingReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.gateway.decoding import WorkerLimits
    from mien.windows import Window


class Hearer:
    """Decodes one recording in the process it is made in, and confines that process."""

    def __init__(self, limits: WorkerLimits) -> None:
        os.nice(limits.niceness)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libsndfile's MP3 decoder writes about damage there
        memory.limit(limits.memory_bytes)
        self._path = ""
        self._windows: Iterator[Window] = iter(())

    def open_recording(self, path: Path) -> float | None:
        """Open the one recording that this process is for; the seconds that it declares, if it does.

        Raises:
            MediaError: it cannot be used.
        """
        self._path = str(path)
        try:
            reader = RecordingReader(path)
        except MediaError as error:
            raise self._telling(error) from error
        self._windows = speech.cut(reader.sound())
        return reader.duration_s

    def next_windows(self) -> list[Window]:
        """The next windows, in order; none at the end.

        Raises:
            MediaError: the recording is damaged, ends long before it says, or has less than 0.1 s.
        """
        try:
            return list(islice(self._windows, speech.BATCH_WINDOWS))
        except MediaError as error:
            raise self._telling(error) from error

    def rest(self) -> None:
        """There is nothing to give back: the process ends with its recording."""

    def _telling(self, error: MediaError) -> MediaError:
        """Where the gateway keeps the file is not for its callers."""
        return type(error)(str(error).replace(self._path, "The recording"))
