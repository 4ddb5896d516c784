"""The sound of videos, which OpenCV does not read. Needs the extra `video-audio`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from mien import contract
from mien.errors import MediaError, SettingsError

try:
    import av
except ImportError as error:
    raise SettingsError(
        "Reading the sound of videos needs the extra `video-audio`: pip install 'mien[video-audio]'."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

PIECE = contract.SAMPLE_RATE_HZ
"""Samples that are handed out at a time, at least."""


class NoSoundError(MediaError):
    """A video has no sound track."""


class SoundTrackReader:
    """Reads the first sound track of a file: MP4, AVI, MKV, WebM, M4A and others.

    Args:
        path: of the file.

    Raises:
        NoSoundError: it has no sound track.
        MediaError: there is no such file, or nothing that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MediaError(f"There is no file {path}.")
        self._path = path
        try:
            # Only the file itself: no container may make the decoder fetch anything.
            self._container = av.open(str(path), options={"protocol_whitelist": "file"})
        except av.FFmpegError as error:
            raise MediaError(
                f"{path} has no sound that can be decoded: damaged, truncated or of an unknown kind."
            ) from error
        if not self._container.streams.audio:
            self.close()
            raise NoSoundError(f"{path} has no sound track.")
        self._stream = self._container.streams.audio[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def duration_s(self) -> float | None:
        """Seconds that the file declares; None if it does not."""
        duration = self._container.duration
        return None if duration is None or duration <= 0 else duration / 1e6

    def sound(self) -> Iterator[NDArray[np.float32]]:
        """Its sound: pieces of (n,) float32 in -1..1, 16 kHz; time 0 is that of the video.

        Raises:
            MediaError: it cannot be decoded to its end; what was before that was given.
        """
        held: list[NDArray[np.float32]] = []
        try:
            for part in self._parts():
                held.append(part)
                if sum(map(len, held)) >= PIECE:
                    yield np.concatenate(held)
                    held = []
        except av.FFmpegError as error:
            if held:
                yield np.concatenate(held)
            raise MediaError(f"{self._path} has sound that is truncated or damaged.") from error
        if held:
            yield np.concatenate(held)

    def _parts(self) -> Iterator[NDArray[np.float32]]:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=contract.SAMPLE_RATE_HZ)
        is_first = True
        for frame in self._container.decode(self._stream):
            if is_first and frame.time and frame.time > 0:  # sound that begins after the pictures
                yield np.zeros(round(frame.time * contract.SAMPLE_RATE_HZ), np.float32)
            is_first = False
            for converted in resampler.resample(frame):
                yield _samples(converted)
        if not is_first:
            for converted in resampler.resample(None):
                yield _samples(converted)


def _samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    samples = np.asarray(frame.to_ndarray(), np.float32).reshape(-1)
    return np.clip(np.nan_to_num(samples), -1, 1)
