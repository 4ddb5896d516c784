from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from mien import EmotionClient, MediaError
from mien.video import VideoWriter
from mien.webcam import OpenCvWindow, open_camera, watch
from tests.unit.mien.scripted_triton import OneFaceDetector, ScriptedTriton

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class ScriptedWindow:
    """A window of nobody's: test machines have no display. The user presses q after `pictures` pictures."""

    def __init__(self, pictures: int) -> None:
        self.shown: list[NDArray[np.uint8]] = []
        self._pictures = pictures

    def show(self, picture: NDArray[np.uint8]) -> bool:
        self.shown.append(picture)
        return len(self.shown) < self._pictures


@pytest.fixture
def recording(tmp_path: Path) -> str:
    """A file in the camera's place: OpenCV reads both alike."""
    with VideoWriter(tmp_path / "camera.avi", 10) as writer:
        for _ in range(8):
            writer.write(np.full((480, 640, 3), 90, np.uint8))
    return str(tmp_path / "camera.avi")


@pytest.mark.parametrize(("presses_after", "frames"), [(3, 3), (99, 8)])
def test_it_shows_annotated_pictures_until_q_or_the_end(
    scripted: ScriptedTriton, recording: str, presses_after: int, frames: int
) -> None:
    window = ScriptedWindow(presses_after)
    capture = open_camera(recording)
    with EmotionClient(scripted.endpoint, detector=OneFaceDetector()) as client:
        assert watch(client, capture, window) == frames
    capture.release()
    assert all((picture != 90).any() for picture in window.shown)


def test_no_camera_is_a_sentence() -> None:
    with pytest.raises(MediaError, match="Camera 99 cannot be opened"):
        open_camera(99)


def test_the_headless_opencv_says_what_to_install() -> None:
    assert "GUI:                           NONE" in cv2.getBuildInformation(), "this test is for the headless build"
    with pytest.raises(MediaError, match=r"opencv-python>=4\.12"):
        OpenCvWindow()
