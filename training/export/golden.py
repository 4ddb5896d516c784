"""Synthetic faces and what a release must answer for them: the canary's question and expected answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.contract import FACE_SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GOLDEN_FACES = 8
"""Enough to notice a wrong file or a wrong preprocessing; small enough to be kept in git."""


def synthetic_faces(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw crude faces: an oval with eyes, brows and a mouth, on a smooth background, lit unevenly.

    They have the smooth areas, the edges and the grey levels of photographs, unlike noise, which every network averages
    away; and no person's picture has to be shipped.

    Args:
        count: how many.
        seed: the same seed gives the same faces.

    Returns:
        (count, 96, 96, 3) uint8, RGB.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_draw_face(rng) for _ in range(count)])


def save_golden(path: Path, faces: NDArray[np.uint8], probabilities: NDArray[np.float32], tolerance: float) -> None:
    """Write `faces`, the `probabilities` that Keras gives for them and the largest difference allowed, as one npz."""
    np.savez_compressed(path, faces=faces, probabilities=probabilities, tolerance=np.float32(tolerance))


def _draw_face(rng: np.random.Generator) -> NDArray[np.uint8]:
    size = FACE_SIZE
    canvas = _smooth_field(rng, 40, 200)
    skin = tuple(float(c) for c in rng.uniform((120, 80, 60), (250, 210, 190)))
    dark = tuple(c * 0.35 for c in skin)
    centre = rng.uniform(0.46, 0.54, 2) * size
    radii = rng.uniform((0.30, 0.38), (0.42, 0.50)) * size
    cv2.ellipse(canvas, (_pair(centre), _pair(2 * radii), float(rng.uniform(-12, 12))), skin, -1, cv2.LINE_AA)
    eye_open, mouth_open, smile = rng.uniform((2, 1, -40), (7, 12, 40))
    for side in (-1, 1):
        eye = centre + np.array([side * 0.42, -0.25]) * radii
        cv2.ellipse(canvas, (_pair(eye), (14.0, 2 * float(eye_open)), 0.0), (235.0, 235.0, 235.0), -1, cv2.LINE_AA)
        cv2.circle(canvas, _pixel(eye), 3, dark, -1, cv2.LINE_AA)
        brow = float(rng.uniform(-6, 6)) * side
        inner, outer = eye + np.array([-9, -9 - brow]), eye + np.array([9, -9 + brow])
        cv2.line(canvas, _pixel(inner), _pixel(outer), dark, 2, cv2.LINE_AA)
    mouth = _pixel(centre + np.array([0, 0.5]) * radii)
    axes = (int(0.4 * radii[0]), max(1, int(mouth_open)))
    cv2.ellipse(canvas, mouth, axes, 0, -smile, 180 + smile, dark, 2, cv2.LINE_AA)
    lit = canvas * _smooth_field(rng, 0.6, 1.2)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def _smooth_field(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float32]:
    coarse = rng.uniform(low, high, (3, 3, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _pixel(values: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(values[0])), round(float(values[1]))
