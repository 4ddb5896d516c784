"""Videos: frames → batches over frames → faces that keep their number.

Memory stays flat however long the video is: at most `ahead.IN_FLIGHT` batches of at most `BATCH_BYTES` are held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from mien import ahead
from mien.errors import MediaError, MediaTooLargeError
from mien.tracking import TrackedFace, Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from mien.client import EmotionClient
    from mien.results import Recognition

BATCH_BYTES = 32 * 2**20
MAX_BATCH_FRAMES = 16
FILM_FPS = 10.0
"""From so many frames a second on, a frame's faces are much like those of the frame before."""

SMOOTHING = 0.7
"""Share that a person's earlier probabilities keep, where smoothing is asked for."""

WHOLE = 0.9
"""A video that ends before this share of its declared frames is truncated; the declared number may be a guess."""

_FOURCC = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    Attributes:
        index: counted from 0 over all frames of the video, also those that sampling leaves out.
        time_s: its time in the video.
        picture: (H, W, 3) uint8, RGB.
    """

    index: int
    time_s: float
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class AnalysedFrame:
    """A frame and its faces, each with the number of its person."""

    frame: Frame
    faces: tuple[TrackedFace, ...]


class VideoReader:
    """Reads a video file frame by frame, upright.

    Args:
        path: of the file.
        max_pixels: largest width x height of a frame.
        fps: analyse this many frames a second; None for all of them.

    Raises:
        MediaTooLargeError: a frame has more than `max_pixels`.
        MediaError: there is no such file, it is empty, or it is not a video that can be decoded.
    """

    def __init__(self, path: Path, max_pixels: int, fps: float | None = None) -> None:
        if not path.is_file():
            raise MediaError(f"There is no video file {path}.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty: zero bytes.")
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise MediaError(f"{path} is not a video that can be decoded: damaged, truncated or of an unknown kind.")
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        declared_fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._native_fps = declared_fps if math.isfinite(declared_fps) and 0 < declared_fps <= 1000 else 25.0
        self._interval_s = 0.0 if fps is None else 1 / fps
        self.fps = self._native_fps if fps is None else min(fps, self._native_fps)
        """Frames a second that are handed out."""
        if self.width * self.height > max_pixels:
            self.close()
            raise MediaTooLargeError(
                f"{path} has frames of {self.width} x {self.height} pixels, more than the limit of {max_pixels:,}; "
                "make it smaller or raise the setting max_pixels (MIEN_MAX_PIXELS)."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    @property
    def frame_count(self) -> int | None:
        """Frames that the file declares; None if it does not."""
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(count) if math.isfinite(count) and 0 < count < 2**40 else None

    def frames(self) -> Iterator[Frame]:
        """The frames to analyse, in order.

        Raises:
            MediaError: there is no frame, or the file ends long before it says; the frames before that were given.
        """
        index, given, due_s = 0, 0, 0.0
        while self._capture.grab():
            time_s = self._time_s(index)
            if time_s >= due_s - 1e-6:
                ok, bgr = self._capture.retrieve()
                if ok:
                    given += 1
                    yield Frame(index, time_s, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
                while self._interval_s and due_s <= time_s + 1e-6:
                    due_s += self._interval_s
            index += 1
        if given == 0:
            raise MediaError(f"{self._path} has no frame that can be decoded.")
        if self.frame_count is not None and index < WHOLE * self.frame_count:
            raise MediaError(
                f"{self._path} is truncated or damaged: it ends after {index} of {self.frame_count} frames. The result "
                "holds the frames before that."
            )

    def _time_s(self, index: int) -> float:
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # Some containers carry no times.
        return time_s if math.isfinite(time_s) and (time_s > 0 or index == 0) else index / self._native_fps


def analyse(
    client: EmotionClient,
    video: VideoReader,
    *,
    smoothing: float = 0.0,
    on_progress: Callable[[int], None] | None = None,
) -> Generator[AnalysedFrame, None, None]:
    """Recognize the faces of every frame that `video` gives, in order.

    Args:
        client: used by several threads at once.
        video: read to its end; the caller closes it.
        smoothing: see `Tracker`; 0 for none.
        on_progress: called with the index of each frame that is done.

    Raises:
        MediaError: see `VideoReader.frames`; raised after the last good frame was given.
        InferenceError: the server failed; the frames before that were given.
    """
    tracker = Tracker(max_gap_s=max(1.0, 3 / video.fps), smoothing=smoothing)
    for frame, recognition in _recognized(client, video):
        faces = tuple(tracker.update(recognition.faces, frame.time_s))
        yield AnalysedFrame(frame, faces)
        if on_progress is not None:
            on_progress(frame.index)


def _recognized(client: EmotionClient, video: VideoReader) -> Iterator[tuple[Frame, Recognition]]:
    size = max(1, min(MAX_BATCH_FRAMES, BATCH_BYTES // (video.width * video.height * 3 or 1)))

    def recognize(frames: list[Frame]) -> list[Recognition]:
        return client.recognize_many([frame.picture for frame in frames], film=video.fps >= FILM_FPS)

    for frames, recognitions in ahead.answered(_batches(video, size), recognize):
        yield from zip(frames, recognitions, strict=True)


def _batches(video: VideoReader, size: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    try:
        for frame in video.frames():
            batch.append(frame)
            if len(batch) == size:
                yield batch
                batch = []
    except MediaError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class VideoWriter:
    """Writes frames to a video file; the sound of the original is not carried over.

    Args:
        path: ending in .mp4, .mov, .mkv or .avi.
        fps: frames a second.

    Raises:
        MediaError: it cannot be written, or not in that format.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in _FOURCC:
            raise MediaError(f"{path}: videos are written as {', '.join(_FOURCC)}, not as {path.suffix or 'that'}.")
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Add a frame, (H, W, 3) uint8 RGB; all of one size."""
        if self._writer is None:
            self._writer = self._open(picture.shape[1], picture.shape[0])
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*_FOURCC[self._path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, code, self._fps, (width, height))
        if not writer.isOpened():
            raise MediaError(f"OpenCV cannot write a video of {width} x {height} pixels to {self._path}.")
        return writer
