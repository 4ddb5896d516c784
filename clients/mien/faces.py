"""Faces: where they are in a picture, and the square crop that the ensemble takes.

Coordinates are pixels of the upright picture: x to the right, y downwards, (0, 0) at the upper left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien import contract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

CROP_SCALE = 0.95
"""Side of the crop as a share of the box's longer side: the middle of a plateau. On labelled photographs 0.85 to 1.1
name the same share of the emotions within what chance does; tighter crops lose the chin, wider ones add hair."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle; it may reach outside the picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """Its middle, (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Width by height."""
        return self.width * self.height

    @property
    def side(self) -> float:
        """The longer of width and height."""
        return max(self.width, self.height)

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, 0..1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if width <= 0 or height <= 0:
            return 0.0
        intersection = width * height
        return intersection / (self.area + other.area - intersection)

    def is_sane(self, picture_width: int, picture_height: int) -> bool:
        """Whether it can be a face of a picture of that size: finite, of some size, its middle inside."""
        if not all(math.isfinite(value) for value in (self.x, self.y, self.width, self.height)):
            return False
        x, y = self.center
        longest = 2 * max(picture_width, picture_height)
        return (
            0 <= x < picture_width
            and 0 <= y < picture_height
            and min(self.width, self.height) >= 1
            and self.side <= longest
        )


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points of a face, each (x, y); right and left are the person's own."""

    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    nose: tuple[float, float]
    right_mouth: tuple[float, float]
    left_mouth: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    Attributes:
        box: around the face, from forehead to chin.
        score: the detector's confidence, 0..1; None where the detector has none (Haar).
        landmarks: None where the detector has none (Haar).
    """

    box: Box
    score: float | None = None
    landmarks: Landmarks | None = None


def crop(picture: NDArray[np.uint8], box: Box, size: int = contract.FACE_SIZE) -> NDArray[np.uint8]:
    """Cut the square around `box` out of a picture and resize it once.

    The square has the box's middle and `CROP_SCALE` times its longer side, at least one pixel. What lies outside the
    picture repeats the picture's edge: black would look like a dark background that the classifier never saw.

    Args:
        picture: (H, W, 3) uint8.
        box: its middle lies inside the picture.
        size: side of the result in pixels.

    Returns:
        (size, size, 3) uint8, contiguous, colours in the picture's order.
    """
    height, width = picture.shape[:2]
    x, y = box.center
    side = max(1, round(box.side * CROP_SCALE))
    left, top = round(x - side / 2), round(y - side / 2)
    right, bottom = left + side, top + side
    # At least one row and column of the picture: rounding may push a tiny square just over the edge.
    inside = picture[
        min(max(top, 0), height - 1) : max(min(bottom, height), 1),
        min(max(left, 0), width - 1) : max(min(right, width), 1),
    ]
    outside = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    square = cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE) if any(outside) else inside
    # Averaging over the area avoids aliasing when shrinking; it would be blocky when enlarging.
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(square, (size, size), interpolation=interpolation), dtype=np.uint8)


def crops(picture: NDArray[np.uint8], faces: Iterable[Face], size: int = contract.FACE_SIZE) -> NDArray[np.uint8]:
    """`crop` of each face: (N, size, size, 3) uint8; N may be 0."""
    cut = [crop(picture, face.box, size) for face in faces]
    return np.stack(cut) if cut else np.zeros((0, size, size, 3), np.uint8)
