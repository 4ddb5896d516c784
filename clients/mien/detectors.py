"""Face detectors: YuNet, and OpenCV's Haar cascade where YuNet cannot be had.

A detector is shared by all threads; OpenCV's own objects are not thread-safe, so each call borrows one.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np

from mien import downloads
from mien.errors import DetectorError
from mien.faces import Box, Face, Landmarks
from mien.settings import YUNET_FILE, YUNET_SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mien.settings import ClientSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")

COARSE_SIZE = 320
"""Longest side of the first, cheap pass: it finds faces down to a 15th of the picture."""

PORTRAIT_SHARE = 1 / 3
"""A face that takes this share of the picture's longer side makes the picture a portrait: no finer pass."""

CLOSE_LOOK_EVERY = 8
"""Of so many frames of a film one at least is looked at as closely as a picture: every 0.3 s at 25 frames a second."""

NEAR_SHARE = 1 / 10
"""A face that takes this share of a frame's longer side is near: the cheap pass alone places it well."""

MAX_ENLARGEMENT = 2.5
"""YuNet finds faces of 20 pixels reliably; enlarged by this much, some of 12 too. More finds no more."""

NMS_IOU = 0.3
_NO_ROWS = np.zeros((0, 15), np.float32)
MAX_FACES = 5000


class FaceDetector(Protocol):
    """Finds faces; may be called by several threads at once."""

    name: str

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Faces of a picture (H, W, 3) uint8 RGB, the largest first."""


@runtime_checkable
class FilmDetector(FaceDetector, Protocol):
    """A detector that needs less time for a frame when it has seen the frames before."""

    def film(self) -> Callable[[NDArray[np.uint8]], list[Face]]:
        """A `detect` for frames of one film in their order, fractions of a second apart; for one thread."""


class YuNetDetector:
    """YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023) through OpenCV.

    It is trained for faces of about 10 to 300 pixels, so a picture is looked at twice: at 320 pixels for the large
    faces and, unless that showed a portrait, at up to `size` pixels for the small ones.

    Args:
        model: path of the ONNX file.
        size: longest side, in pixels, of the finer pass.
        threshold: least score of a face.

    Raises:
        DetectorError: the file is missing or no YuNet model.
    """

    name = "yunet"

    def __init__(self, model: Path, size: int = 1280, threshold: float = 0.6) -> None:
        try:
            content = np.frombuffer(model.read_bytes(), np.uint8)
        except OSError as error:
            raise DetectorError(f"The YuNet file {model} cannot be read: {error.strerror or error}.") from error
        if not content.size:
            raise DetectorError(f"The YuNet file {model} is empty.")
        self._model = model
        self._size = size
        self._networks = _Pool(lambda: self._load(content, threshold))
        self.detect(
            np.zeros((32, 32, 3), np.uint8)
        )  # a file that is another network fails here, not at a user's picture

    def _load(self, content: NDArray[np.uint8], threshold: float) -> cv2.FaceDetectorYN:
        try:
            return cv2.FaceDetectorYN.create(
                "onnx", content, np.empty(0, np.uint8), (32, 32), threshold, NMS_IOU, MAX_FACES
            )
        except cv2.error as error:
            raise self._not_yunet() from error

    def _not_yunet(self) -> DetectorError:
        return DetectorError(
            f"{self._model} is not a YuNet model that OpenCV {cv2.__version__} can load ({YUNET_FILE})."
        )

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Faces of a picture (H, W, 3) uint8 RGB, the largest first."""
        rows = self.coarse(picture)
        return _faces(rows if _is_portrait(rows, picture) else self.closer(picture, rows), picture)

    def film(self) -> Callable[[NDArray[np.uint8]], list[Face]]:
        """See `FilmDetector`."""
        return _Film(self)

    def coarse(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the cheap pass finds: rows of box, five points and score, in the picture's own pixels."""
        return _without_duplicates(self._pass(picture, min(COARSE_SIZE / max(picture.shape[:2]), MAX_ENLARGEMENT)))

    def closer(self, picture: NDArray[np.uint8], coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cheap pass's rows, and what the finer pass finds besides or scores higher."""
        longest = max(picture.shape[:2])
        scale = min(self._size / longest, MAX_ENLARGEMENT)
        if scale <= COARSE_SIZE / longest:
            return coarse
        return _without_duplicates(np.concatenate([coarse, self._pass(picture, scale)]))

    def _pass(self, picture: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
        """One run of the network at `scale`: rows of box, five points and score, in the picture's own pixels."""
        height, width = picture.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        bgr = cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR)  # of the small one: of a photograph it would cost as much again
        with self._networks.borrow() as network:
            try:
                network.setInputSize(size)
                rows = network.detect(bgr)[1]
            except cv2.error as error:
                raise self._not_yunet() from error
        found = np.asarray(_NO_ROWS if rows is None else rows, np.float32)
        finite = found[np.isfinite(found).all(axis=1)]
        finite[:, 0:14:2] *= width / size[0]
        finite[:, 1:14:2] *= height / size[1]
        return np.asarray(finite, np.float32)


class _Film:
    """Leaves the finer pass out where a frame a moment ago says that it would not tell more.

    It would not if it showed no further face then, and if now there are as many faces, all of them near.
    """

    def __init__(self, detector: YuNetDetector) -> None:
        self._detector = detector
        self._faces = 0
        self._frames_left = 0

    def __call__(self, picture: NDArray[np.uint8]) -> list[Face]:
        rows = self._detector.coarse(picture)
        if not _is_portrait(rows, picture):
            rows = self._look(picture, rows)
        return _faces(rows, picture)

    def _look(self, picture: NDArray[np.uint8], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        are_near = bool((_sides(rows) >= NEAR_SHARE * max(picture.shape[:2])).all())
        if self._frames_left and are_near and len(rows) == self._faces:
            self._frames_left -= 1
            return rows
        closer = self._detector.closer(picture, rows)
        self._faces = len(rows)
        self._frames_left = CLOSE_LOOK_EVERY - 1 if are_near and len(closer) == len(rows) else 0
        # Of a face that both passes find, the box is the cheap one's in all these frames: it would jump between them.
        return rows if self._frames_left else closer


def detect_in_film(detector: FaceDetector) -> Callable[[NDArray[np.uint8]], list[Face]]:
    """What finds the faces of a film's frames, in order and in one thread; `detect` where there is nothing better."""
    return detector.film() if isinstance(detector, FilmDetector) else detector.detect


def _sides(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The longer side of each row's box."""
    sides: NDArray[np.float32] = rows[:, 2:4].max(axis=1)
    return sides


def _is_portrait(rows: NDArray[np.float32], picture: NDArray[np.uint8]) -> bool:
    return bool((_sides(rows) >= PORTRAIT_SHARE * max(picture.shape[:2])).any())


def _faces(rows: NDArray[np.float32], picture: NDArray[np.uint8]) -> list[Face]:
    """Of rows without duplicates, the largest first."""
    height, width = picture.shape[:2]
    faces = [face for face in map(_face_of_row, rows) if face.box.is_sane(width, height)]
    return sorted(faces, key=lambda face: -face.box.area)


def _without_duplicates(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best-scored row of each face: both passes may have found it."""
    if not len(rows):
        return rows
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, NMS_IOU)
    best: NDArray[np.float32] = rows[np.asarray(kept, int).ravel()]
    return best


def _face_of_row(row: NDArray[np.float32]) -> Face:
    x, y, width, height, *points, score = (float(value) for value in row)
    pairs = list(zip(points[::2], points[1::2], strict=True))
    return Face(Box(x, y, width, height), min(score, 1.0), Landmarks(*pairs))


class HaarDetector:
    """OpenCV's frontal-face Haar cascade, part of OpenCV itself: no score, no landmarks, about half of YuNet's faces.

    Args:
        size: longest side, in pixels, at which faces are looked for.
    """

    name = "haar"

    def __init__(self, size: int = 1280) -> None:
        self._size = size
        self._cascades = _Pool(self._load)

    @staticmethod
    def _load() -> cv2.CascadeClassifier:
        path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        cascade = cv2.CascadeClassifier(str(path))
        if cascade.empty():
            raise DetectorError(
                f"OpenCV {cv2.__version__} has no Haar cascade at {path}; reinstall opencv-python-headless."
            )
        return cascade

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Faces of a picture (H, W, 3) uint8 RGB, the largest first."""
        height, width = picture.shape[:2]
        scale = min(1.0, self._size / max(height, width))
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with self._cascades.borrow() as cascade:
            found = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5)
        boxes = [Box(*(float(value) / scale for value in row)) for row in found]
        faces = [Face(box) for box in boxes if box.is_sane(width, height)]
        return sorted(faces, key=lambda face: -face.box.area)


def load_detector(settings: ClientSettings) -> FaceDetector:
    """The detector that `settings` ask for; YuNet is fetched into the cache the first time.

    Raises:
        DetectorError: YuNet was asked for, or a file given, and it cannot be loaded.
    """
    if settings.detector == "haar":
        return HaarDetector(settings.detector_size)
    try:
        model = settings.yunet_path or downloads.fetch_once(
            settings.yunet_url, YUNET_SHA256, settings.cache_dir / YUNET_FILE
        )
    except DetectorError as error:
        if settings.detector == "yunet":
            raise DetectorError(f"{error} {_ways_to_yunet(settings)}") from error
        logger.warning(
            "%s Falling back to OpenCV's Haar cascade, which finds about half as many faces. %s",
            error,
            _ways_to_yunet(settings),
        )
        return HaarDetector(settings.detector_size)
    return YuNetDetector(model, settings.detector_size, settings.detector_threshold)


def _ways_to_yunet(settings: ClientSettings) -> str:
    return (
        f"To have YuNet without this download, put {YUNET_FILE} into {settings.cache_dir}, name its path in "
        "MIEN_YUNET_PATH, or name a mirror in MIEN_YUNET_URL."
    )


class _Pool(Generic[T]):
    """Objects that only one thread may use at a time; as many as there were threads at once."""

    def __init__(self, create: Callable[[], T]) -> None:
        self._create = create
        self._idle: list[T] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self) -> Iterator[T]:
        with self._lock:
            item = self._idle.pop() if self._idle else None
        if item is None:
            item = self._create()
        try:
            yield item
        finally:
            with self._lock:
                self._idle.append(item)
