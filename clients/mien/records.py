"""Results as flat rows (CSV) and as nested records (JSON); the names are the same everywhere."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from mien import contract, fusion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mien.fusion import Moment
    from mien.results import Emotion, RecognizedFace, SpeechWindow

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

SPEECH_COLUMNS = ("start_s", "end_s", "emotion", "confidence", *contract.SPEECH_LABELS, "model_version")
"""Columns of a window of speech in CSV: its time in seconds, and the probability of each label, empty in silence."""

MOMENT_COLUMNS = (
    "start_s",
    "end_s",
    "faces",
    "face_emotion",
    "face_confidence",
    "speech_emotion",
    "speech_confidence",
    "emotion",
    "confidence",
    *fusion.LABELS,
)
"""Columns of a moment of a video with sound in CSV: what its faces say, what its speech says, and both together with
the probability of each label; empty where there is none."""

Record = dict[str, Any]
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


def face_row(recognized: RecognizedFace) -> Record:
    """A face as the columns `FACE_COLUMNS`."""
    return {
        **_box(recognized),
        "score": _rounded(recognized.face.score),
        **_named(recognized.emotion),
        **_probabilities(recognized.emotion),
        "model_version": recognized.emotion.model_version,
    }


def face_record(recognized: RecognizedFace) -> Record:
    """A face as nested values, with its landmarks."""
    face = recognized.face
    marks = face.landmarks
    return {
        "box": _box(recognized),
        "score": _rounded(face.score),
        "landmarks": marks
        and {name: [round(x, 1), round(y, 1)] for name in marks.__slots__ for x, y in [getattr(marks, name)]},
        **emotion_record(recognized.emotion),
    }


def speech_row(window: SpeechWindow) -> Record:
    """A window as the columns `SPEECH_COLUMNS`."""
    emotion = window.emotion
    times = _times(window)
    if emotion is None:
        return times
    return {**times, **_named(emotion), **_probabilities(emotion), "model_version": emotion.model_version}


def speech_record(window: SpeechWindow) -> Record:
    """A window as nested values; all but its times are null in silence."""
    return {**_times(window), **emotion_record(window.emotion)}


def moment_row(moment: Moment) -> Record:
    """A moment as the columns `MOMENT_COLUMNS`."""
    row = {**_times(moment), "faces": moment.faces}
    parts = (("face_", moment.face), ("speech_", moment.speech), ("", moment.fused))
    for prefix, emotion in parts:
        row |= {f"{prefix}{name}": value for name, value in _named(emotion).items()}
    return row | (_probabilities(moment.fused) if moment.fused else {})


def moment_record(moment: Moment) -> Record:
    """A moment as nested values; null where a modality is missing."""
    fused = moment.fused
    return {
        **_times(moment),
        "faces": moment.faces,
        "face": moment.face and emotion_record(moment.face),
        "speech": moment.speech and emotion_record(moment.speech),
        "fused": fused and {**_named(fused), "probabilities": _probabilities(fused)},
    }


def emotion_record(emotion: Emotion | None) -> Record:
    """An emotion as nested values."""
    return {
        **_named(emotion),
        "probabilities": emotion and _probabilities(emotion),
        "model_version": emotion and emotion.model_version,
    }


def _named(emotion: Emotion | None) -> Record:
    return {"emotion": emotion and emotion.label, "confidence": emotion and _rounded(emotion.confidence)}


def _times(stretch: SpeechWindow | Moment) -> Record:
    return {"start_s": round(stretch.start_s, 3), "end_s": round(stretch.end_s, 3)}


def _box(recognized: RecognizedFace) -> Record:
    box = recognized.face.box
    return {name: round(getattr(box, name), 1) for name in ("x", "y", "width", "height")}


def _probabilities(emotion: Emotion) -> Record:
    return {label: round(value, 6) for label, value in emotion.probabilities.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True, slots=True)
class Layout(Generic[T]):
    """How one kind of result is written.

    Attributes:
        columns: of CSV.
        row: a result as those columns.
        record: a result as nested values.
    """

    columns: tuple[str, ...]
    row: Callable[[T], Record]
    record: Callable[[T], Record]


FACE = Layout(FACE_COLUMNS, face_row, face_record)
SPEECH = Layout(SPEECH_COLUMNS, speech_row, speech_record)
MOMENT = Layout(MOMENT_COLUMNS, moment_row, moment_record)


class RecordWriter(Protocol[T_contra]):
    """Writes one result after the other."""

    def write(self, place: Mapping[str, Any], result: T_contra) -> None:
        """Write a result; `place` says where it was found, such as the file or frame."""


class CsvWriter(Generic[T]):
    """CSV with a header line: the names of `place`, then the columns of `layout`."""

    def __init__(self, file: IO[str], place: Sequence[str], layout: Layout[T]) -> None:
        self._row = layout.row
        self._writer = csv.DictWriter(file, [*place, *layout.columns], lineterminator="\n")
        self._writer.writeheader()

    def write(self, place: Mapping[str, Any], result: T) -> None:
        """Write a result as one line."""
        self._writer.writerow({**place, **self._row(result)})


class JsonLinesWriter(Generic[T]):
    """JSON Lines: one object a line, valid however early it ends."""

    def __init__(self, file: IO[str], layout: Layout[T]) -> None:
        self._file = file
        self._record = layout.record

    def write(self, place: Mapping[str, Any], result: T) -> None:
        """Write a result as one line."""
        self._file.write(json.dumps({**place, **self._record(result)}) + "\n")
