"""Recordings: files → sound, 16 kHz and one channel, piece by piece however long they are. Needs the extra `audio`."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from mien.errors import MediaError, SettingsError, TensorError
from mien.samples import MAX_CHANNELS, MIN_S, Resampler, checked_rate, mono, too_short

try:
    import soundfile
except ImportError as error:
    raise SettingsError("Reading recordings needs the extra `audio`: pip install 'mien[audio]'.") from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

PIECE_FRAMES = 2**16

WHOLE = 0.9
"""A recording that ends before this share of what it declares is truncated; the declared number may be a guess."""

_UNKNOWN_LENGTH = 2**31 - 2**16
"""A WAV that was written into a pipe declares about as much as its header can, or nothing."""

_CUT_WAV = re.compile(r"^data : (\d+) \(should be (\d+)\)$", re.MULTILINE)


class RecordingReader:
    """Reads WAV, FLAC, OGG, MP3 and what else libsndfile knows.

    Args:
        path: of the file.

    Raises:
        MediaError: there is no such file, it is empty, or it is no recording that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MediaError(f"There is no recording {path}.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty: zero bytes.")
        self._path = path
        self._opened: IO[bytes] = path.open("rb")
        try:
            # Not by its name, because soundfile takes names that end in .raw for files without a header.
            self._file = soundfile.SoundFile(self._opened.fileno(), closefd=False)
            self._resampler = Resampler(checked_rate(self._file.samplerate))
        except soundfile.LibsndfileError as error:
            self._opened.close()
            raise MediaError(
                f"{path} is not a recording that can be decoded: damaged, truncated or of an unknown kind. WAV, FLAC, "
                "OGG and MP3 are known."
            ) from error
        except TensorError as error:
            self.close()
            raise MediaError(f"{path}: {error}") from error
        if self._file.channels > MAX_CHANNELS:
            self.close()
            raise MediaError(f"{path} has {self._file.channels} channels; recordings may have up to {MAX_CHANNELS}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._opened.close()

    @property
    def duration_s(self) -> float | None:
        """Seconds that the file declares; None if it does not."""
        frames = self._file.frames
        return frames / self._file.samplerate if 0 < frames < 2**62 else None

    def sound(self) -> Iterator[NDArray[np.float32]]:
        """Its sound: pieces of (n,) float32 in -1..1, 16 kHz.

        Raises:
            MediaError: the file ends long before it says, is damaged, or has less than 0.1 s; what was before that was
                given.
        """
        read = 0
        try:
            while len(frames := self._file.read(PIECE_FRAMES, dtype="float32", always_2d=True)):
                read += len(frames)
                yield self._resampler.add(mono(frames))
        except soundfile.LibsndfileError as error:
            raise MediaError(self._cut(read)) from error
        except TensorError as error:
            raise MediaError(f"{self._path}: {error}") from error
        yield self._resampler.add(np.zeros(0, np.float32), is_last=True)
        if read < WHOLE * self._declared():
            raise MediaError(self._cut(read))
        if read < MIN_S * self._file.samplerate:
            raise MediaError(too_short(str(self._path), read / self._file.samplerate))

    def _declared(self) -> int:
        """Frames that the file says it has; of a WAV libsndfile itself only tells how many there are."""
        found = _CUT_WAV.search(self._file.extra_info)
        frames = int(self._file.frames)
        if not found or not int(found[2]):
            return frames
        declared, there = int(found[1]), int(found[2])
        return frames if declared >= _UNKNOWN_LENGTH else frames * declared // there

    def _cut(self, read: int) -> str:
        return (
            f"{self._path} is truncated or damaged: it ends after {read / self._file.samplerate:.1f} s of "
            f"{self._declared() / self._file.samplerate:.1f} s."
        )
