"""What happens inside a worker process: strangers' files are decoded and searched for faces.

Nothing here asks the model server or holds anything of an earlier caller.
"""

from __future__ import annotations

import os
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien import faces, images
from mien.detectors import load_detector
from mien.errors import MediaError
from mien.gateway import memory
from mien.video import VideoReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.detectors import FaceDetector
    from mien.faces import Face
    from mien.settings import ClientSettings
    from mien.video import Frame

LARGE_PIXELS = 16_000_000

KEPT_BYTES = 24 * 2**20
"""What a worker at rest may hold beyond what it held at its start."""

BATCH_FRAMES = 4
"""Few: a picture's face waits at the model server behind all of a batch's."""

BATCH_S = 1.0
"""A batch of frames is handed over when it has been collected this long, so that progress shows."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker process may use.

    Attributes:
        memory_bytes: RLIMIT_DATA: private memory that can be written to.
        max_faces: most faces of a picture or frame, the largest ones.
        niceness: added to the gateway's own.
    """

    memory_bytes: int
    max_faces: int
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class LocatedPicture:
    """A decoded picture's faces.

    Attributes:
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        faces: the largest first.
        crops: (N, 96, 96, 3) uint8 RGB, one for each face.
        detector: name of the face detector.
        detect_s: seconds spent on it.
    """

    width: int
    height: int
    faces: tuple[Face, ...]
    crops: NDArray[np.uint8]
    detector: str
    detect_s: float


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video says about itself; it may lie.

    Attributes:
        fps: frames a second that will be analysed.
        duration_s: None if it does not say.
    """

    fps: float
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class LocatedFrame:
    """A frame of a video and its faces; `index` counts all frames of the video."""

    index: int
    time_s: float
    picture: LocatedPicture


class Decoder:
    """Decodes pictures, or one video, in the process it is made in, and confines that process.

    Raises:
        DetectorError: the face detector cannot be loaded.
    """

    def __init__(self, settings: ClientSettings, limits: WorkerLimits) -> None:
        self._settings = settings
        self._max_faces = limits.max_faces
        os.nice(limits.niceness)
        # Each worker has one processor's share of the work.
        cv2.setNumThreads(1)
        # Only the file itself: no container may make the decoder fetch anything.
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "protocol_whitelist;file|threads;1"
        # Of damaged metadata, which does no harm; the pixel limit is Mien's own.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        self._detector = self._load_detector()
        self._path: Path | None = None
        self._frames: Iterator[Frame] = iter(())
        self._problem: MediaError | None = None
        self._resident = memory.resident()
        memory.limit(limits.memory_bytes)

    def locate(self, content: bytes) -> LocatedPicture:
        """The faces of a picture file.

        Raises:
            MediaError: it cannot be used.
        """
        started = time.perf_counter()
        located = self._search(images.read_image(content, self._settings.max_pixels), started)
        if located.width * located.height > LARGE_PIXELS:
            self.rest()  # under load too: few are so large, and it adds a fifth to their cost
        return located

    def open_video(self, path: Path, frame_rate: float) -> VideoInfo:
        """Open the one video that this process is for.

        Raises:
            MediaError: it cannot be used.
        """
        self._path = path
        with self._telling_of_the_video(), VideoReader(path, self._settings.max_pixels) as whole:
            duration_s = whole.frame_count / whole.fps if whole.frame_count else None
        with self._telling_of_the_video():
            video = VideoReader(path, self._settings.max_pixels, frame_rate)
        self._frames = video.frames()
        return VideoInfo(video.fps, duration_s)

    def next_frames(self) -> list[LocatedFrame]:
        """The next frames to analyse, in order; none at the end of the video.

        Raises:
            MediaError: the video has no frame, or ends long before it says; all frames before that were given.
        """
        if self._problem is not None:
            raise self._problem
        batch: list[LocatedFrame] = []
        due = time.monotonic() + BATCH_S
        try:
            with self._telling_of_the_video():
                for frame in self._frames:
                    started = time.perf_counter()
                    batch.append(LocatedFrame(frame.index, frame.time_s, self._search(frame.picture, started)))
                    if len(batch) == BATCH_FRAMES or time.monotonic() > due:
                        break
        except MediaError as error:
            if not batch:
                raise
            self._problem = error
        return batch

    def rest(self) -> None:
        """Give back the memory that large pictures took; a little is kept for the next small one."""
        if memory.resident() - self._resident < KEPT_BYTES:
            return
        # OpenCV's detectors hold on to buffers for the largest picture so far, some 80 MiB.
        self._detector = self._load_detector()
        memory.trim()

    def _load_detector(self) -> FaceDetector:
        detector = load_detector(self._settings)
        detector.detect(np.zeros((32, 32, 3), np.uint8))  # Haar's is read now, and not at somebody's picture
        return detector

    def _search(self, picture: NDArray[np.uint8], started: float) -> LocatedPicture:
        found = self._detector.detect(picture)[: self._max_faces]
        crops = faces.crops(picture, found)
        height, width = picture.shape[:2]
        seconds = time.perf_counter() - started
        return LocatedPicture(width, height, tuple(found), crops, self._detector.name, seconds)

    @contextmanager
    def _telling_of_the_video(self) -> Iterator[None]:
        """Where the gateway keeps the file is not for its callers."""
        try:
            yield
        except MediaError as error:
            raise type(error)(str(error).replace(f"{self._path}", "The video")) from error
