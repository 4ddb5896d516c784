"""Results as flat rows (CSV) and as nested records (JSON); the names are the same in pictures and videos."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING, Any, Protocol

from mien import contract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.results import RecognizedFace

FACE_COLUMNS = (
    "x",
    "y",
    "width",
    "height",
    "score",
    "emotion",
    "confidence",
    *contract.EMOTION_LABELS,
    "model_version",
)
"""Columns of a face in CSV: its box in pixels, the detector's score, and the probability of each label."""

Record = dict[str, Any]


def face_row(recognized: RecognizedFace) -> Record:
    """A face as the columns `FACE_COLUMNS`."""
    face, emotion = recognized.face, recognized.emotion
    return {
        **_box(recognized),
        "score": _rounded(face.score),
        "emotion": emotion.label,
        "confidence": _rounded(emotion.confidence),
        **_probabilities(recognized),
        "model_version": emotion.model_version,
    }


def face_record(recognized: RecognizedFace) -> Record:
    """A face as nested values, with its landmarks."""
    face, emotion = recognized.face, recognized.emotion
    marks = face.landmarks
    return {
        "box": _box(recognized),
        "score": _rounded(face.score),
        "landmarks": marks
        and {name: [round(x, 1), round(y, 1)] for name in marks.__slots__ for x, y in [getattr(marks, name)]},
        "emotion": emotion.label,
        "confidence": _rounded(emotion.confidence),
        "probabilities": _probabilities(recognized),
        "model_version": emotion.model_version,
    }


def _box(recognized: RecognizedFace) -> Record:
    box = recognized.face.box
    return {name: round(getattr(box, name), 1) for name in ("x", "y", "width", "height")}


def _probabilities(recognized: RecognizedFace) -> Record:
    return {label: round(value, 6) for label, value in recognized.emotion.probabilities.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


class RecordWriter(Protocol):
    """Writes one face after the other."""

    def write(self, place: Mapping[str, Any], face: RecognizedFace) -> None:
        """Write a face; `place` says where it was found, such as the file or frame."""


class CsvWriter:
    """CSV with a header line: the names of `place`, then `FACE_COLUMNS`."""

    def __init__(self, file: IO[str], place: Sequence[str]) -> None:
        self._file = file
        self._writer = csv.DictWriter(file, [*place, *FACE_COLUMNS], lineterminator="\n")
        self._writer.writeheader()

    def write(self, place: Mapping[str, Any], face: RecognizedFace) -> None:
        """Write a face as one line."""
        self._writer.writerow({**place, **face_row(face)})


class JsonLinesWriter:
    """JSON Lines: one object a line, valid however early it ends."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, place: Mapping[str, Any], face: RecognizedFace) -> None:
        """Write a face as one line."""
        self._file.write(json.dumps({**place, **face_record(face)}) + "\n")
