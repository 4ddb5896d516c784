"""A stranger's recording of speech → the window that is kept.

What is kept is made anew from the samples: 16 kHz, one channel, as the model hears it, without the file's metadata.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from mien import contract
from mien.errors import MediaError
from mien.gateway import memory
from mien.recordings import RecordingReader

if TYPE_CHECKING:
    from pathlib import Path

SLACK_S = 0.1
"""What resampling and encoding may add to a window."""


class UtteranceReader:
    """Decodes recordings in the process it is made in, and confines that process."""

    def __init__(self, memory_bytes: int) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libsndfile's MP3 decoder writes about damage there
        memory.limit(memory_bytes)

    def read(self, path: Path) -> bytes:
        """The window as a FLAC file of 16 kHz.

        Raises:
            MediaError: it cannot be used.
        """
        try:
            with RecordingReader(path) as reader:
                sound = self._window(reader)
        except MediaError as error:  # where the gateway keeps the file is not for its callers
            raise type(error)(str(error).replace(str(path), "The recording")) from error
        with io.BytesIO() as file:
            soundfile.write(file, np.clip(sound, -1, 1), contract.SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
            return file.getvalue()

    def rest(self) -> None:
        """Give back the memory that the last files took."""
        memory.trim()

    @staticmethod
    def _window(reader: RecordingReader) -> np.ndarray:
        pieces, samples = [], 0
        for piece in reader.sound():
            pieces.append(piece)
            samples += len(piece)
            if samples > (contract.WINDOW_S + SLACK_S) * contract.SAMPLE_RATE_HZ:
                raise MediaError(f"The recording is longer than {contract.WINDOW_S:g} s; send the window alone.")
        return np.concatenate(pieces)
