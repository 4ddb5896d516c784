"""Synthetic faces and voices, and what a release must answer for them: the canary's question and expected answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mien.contract import AUDIO, FACE_SIZE, FACES, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import TensorSpec

GOLDEN_EXAMPLES = 8
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


def synthetic_speech(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Make crude speech: syllables of a gliding tone with formants, with breath between them and a pause behind.

    It has the harmonics, the onsets and the range of loudness of a voice, and nobody's voice has to be shipped.

    Args:
        count: how many windows.
        seed: the same seed gives the same windows.

    Returns:
        (count, 48000) float32, -1..1.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_speak(rng) for _ in range(count)])


SYNTHETIC: dict[TensorSpec, Callable[[int], NDArray[Any]]] = {FACES: synthetic_faces, AUDIO: synthetic_speech}
"""What is sent to an ensemble for want of people, by its input."""


def save_golden(
    path: Path, tensor: TensorSpec, inputs: NDArray[Any], probabilities: NDArray[np.float32], tolerance: float
) -> None:
    """Write what a release is asked and must answer as one npz.

    Args:
        path: the file.
        tensor: the ensemble's input, under whose name, in small letters, the `inputs` are kept.
        inputs: (N, *shape).
        probabilities: (N, K), what Keras gives for them.
        tolerance: the largest difference allowed.
    """
    arrays: dict[str, Any] = {tensor.name.lower(): inputs}
    np.savez_compressed(path, probabilities=probabilities, tolerance=np.float32(tolerance), **arrays)


def _speak(rng: np.random.Generator) -> NDArray[np.float32]:
    (samples,) = AUDIO.shape
    time = np.arange(samples) / SAMPLE_RATE_HZ
    rate, glide, depth = rng.uniform((2.5, 0.2, 0.05), (6, 1.5, 0.3))
    pitch_hz = rng.uniform(90, 260) * (1 + depth * np.sin(2 * np.pi * glide * time + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    formants_hz, widths_hz = rng.uniform((300, 900, 2200), (900, 2200, 3400)), np.array([90, 130, 200])
    voice = np.zeros(samples)
    for harmonic in range(1, 21):
        gain = np.sum(1 / (1 + ((harmonic * pitch_hz[:, None] - formants_hz) / widths_hz) ** 2), axis=1)
        voice += gain / harmonic * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * rate * time), 0, 1) * (time < rng.uniform(1.5, 3.0))
    voice *= syllables / np.abs(voice).max()
    breath = rng.normal(0, rng.uniform(0.002, 0.01), samples)
    return (rng.uniform(0.2, 0.9) * voice + breath).clip(-1, 1).astype(np.float32)


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
