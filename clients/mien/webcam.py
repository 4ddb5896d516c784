"""The live picture of a camera with boxes and labels; `q` or Escape ends it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from mien import draw
from mien.errors import MediaError
from mien.tracking import Tracker
from mien.video import SMOOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.client import EmotionClient

TITLE = "Mien - q ends"
END_KEYS = (ord("q"), 27)


class Window(Protocol):
    """Where pictures are shown."""

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show (H, W, 3) uint8 RGB; False once the user wants to end."""


class OpenCvWindow:
    """A window of OpenCV's.

    Raises:
        MediaError: OpenCV was built without windows, or there is no display.
    """

    def __init__(self, title: str = TITLE) -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise MediaError(
                "This OpenCV cannot open a window: either there is no display, or it is the headless build. For the "
                "window: pip uninstall opencv-python-headless, then pip install 'opencv-python>=4.12,<5'."
            ) from error

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show (H, W, 3) uint8 RGB; False once the user pressed q or Escape, or closed the window."""
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in END_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(self._title)


def open_camera(camera: int | str) -> cv2.VideoCapture:
    """Camera number `camera`, or the stream or file of that name.

    Raises:
        MediaError: it cannot be opened.
    """
    capture = cv2.VideoCapture(camera)
    if not capture.isOpened():
        raise MediaError(f"Camera {camera} cannot be opened: is one connected, and not in use by another program?")
    return capture


def watch(client: EmotionClient, capture: cv2.VideoCapture, window: Window) -> int:
    """Show what the camera sees, annotated, until the window or the stream ends; returns the number of frames.

    Probabilities are smoothed over time: the label of a live face would flicker otherwise.
    """
    tracker = Tracker(smoothing=SMOOTHING)
    shown = 0
    while True:
        ok, bgr = capture.read()
        if not ok:
            return shown
        picture = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        tracked = tracker.update(client.recognize(picture).faces, time.monotonic())
        shown += 1
        if not window.show(draw.annotate(picture, [face.recognized for face in tracked])):
            return shown
