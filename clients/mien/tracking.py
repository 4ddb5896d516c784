"""Which face of one frame is which face of the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.results import Emotion, RecognizedFace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.faces import Box

MOST_GROWTH = 2.0
"""A face whose side is more than this many times another's is not the same face."""


@dataclass(slots=True)
class _Track:
    number: int
    box: Box
    seen_s: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A recognized face and the number of the person it belongs to, counted from 1."""

    track: int
    recognized: RecognizedFace


class Tracker:
    """Numbers faces so that a person keeps theirs from frame to frame.

    Boxes are paired greedily, the best pair first, by overlap (IoU) plus nearness (1 minus the distance of the middles
    over the face's side). A face without a pair gets a new number.

    Args:
        max_gap_s: a face that was away longer than this comes back as a new one; memory holds no older faces.
        smoothing: 0 for none; otherwise the share, below 1, that a person's earlier probabilities keep in the next
            frame (exponential smoothing).
    """

    def __init__(self, max_gap_s: float = 1.0, smoothing: float = 0.0) -> None:
        self._max_gap_s = max_gap_s
        self._smoothing = smoothing
        self._tracks: list[_Track] = []
        self._last_number = 0

    def update(self, faces: Sequence[RecognizedFace], time_s: float) -> list[TrackedFace]:
        """Number the faces of the next frame, in their order."""
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self._max_gap_s]
        pairs = _pairs([face.face.box for face in faces], [track.box for track in self._tracks])
        known = list(self._tracks)
        return [
            self._follow(known[pairs[index]], face, time_s) if index in pairs else self._start(face, time_s)
            for index, face in enumerate(faces)
        ]

    def _start(self, face: RecognizedFace, time_s: float) -> TrackedFace:
        self._last_number += 1
        self._tracks.append(_Track(self._last_number, face.face.box, time_s, face.emotion.probabilities))
        return TrackedFace(self._last_number, face)

    def _follow(self, track: _Track, face: RecognizedFace, time_s: float) -> TrackedFace:
        keep = self._smoothing
        probabilities = {
            label: keep * track.probabilities[label] + (1 - keep) * value
            for label, value in face.emotion.probabilities.items()
        }
        track.box, track.seen_s, track.probabilities = face.face.box, time_s, probabilities
        return TrackedFace(track.number, replace(face, emotion=Emotion(probabilities, face.emotion.model_version)))


def _pairs(boxes: Sequence[Box], tracks: Sequence[Box]) -> dict[int, int]:
    """Index of a box → index of its track."""
    if not boxes or not tracks:
        return {}
    affinity = _affinity(_array(boxes), _array(tracks))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for flat in np.argsort(-affinity, axis=None, kind="stable"):
        box, track = divmod(int(flat), len(tracks))
        if affinity[box, track] <= 0:
            break
        if box not in pairs and track not in taken:
            pairs[box] = track
            taken.add(track)
    return pairs


def _array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array([(box.x, box.y, box.width, box.height) for box in boxes])


def _affinity(boxes: NDArray[np.float64], tracks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(boxes, tracks): IoU plus nearness; 0 where they cannot be the same face."""
    a, b = boxes[:, None], tracks[None]
    corner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.clip(corner, 0, None).prod(-1)
    iou = overlap / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - overlap)
    sides_a, sides_b = a[..., 2:].max(-1), b[..., 2:].max(-1)
    distance = np.linalg.norm((a[..., :2] + a[..., 2:] / 2) - (b[..., :2] + b[..., 2:] / 2), axis=-1)
    nearness = np.clip(1 - distance / np.maximum(sides_a, sides_b), 0, None)
    alike = np.maximum(sides_a, sides_b) <= MOST_GROWTH * np.minimum(sides_a, sides_b)
    return np.where(alike, iou + nearness, 0.0)
