"""Reads recordings of speech from the forms in which people have them, and notes what is wrong on the way.

Who speaks and which emotion comes from, in this order:

- a CSV manifest, ``path,label[,speaker][,split]``, beside or above the recordings it names;
- the file's name, as the Berlin Database of Emotional Speech (``03a01Wa``), RAVDESS (``03-01-05-01-02-01-12``) and
  CREMA-D (``1001_DFA_ANG_XX``) give it;
- the folders, ``[speaker/]emotion/recording``.

Each may lie in a directory or in a zip file. Formats are those that libsndfile reads, with any rate and any channels.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

from mien.contract import AUDIO, SAMPLE_RATE_HZ, WINDOW_HOP_S
from training.errors import DatasetError
from training.reading import SPLITS, Reading, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from training.reading import Container

SILENCE_DB = -40.0
"""Before the first and after the last frame that is louder than this, against the loudest, there is no speech."""

SHORTEST_S = 0.2
"""Shorter sounds hold no emotion that could be learnt."""

_FRAME = SAMPLE_RATE_HZ // 50
_SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})
_COLUMNS = {"file": "path", "audio": "path", "emotion": "label", "actor": "speaker", "usage": "split"}
_EMODB = {"W": "angry", "L": "boredom", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"}
_RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
_CREMA_D = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
# Emotions that a corpus has and the contract has not: left out with a note, not an error in the dataset.
_LEFT_OUT = frozenset({"calm", "surprise"})

_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[str, str]]], ...] = (
    (re.compile(r"(?P<who>\d\d)[ab]\d\d(?P<what>[WLEAFTN])[a-z]?"), lambda m: (_EMODB[m["what"]], m["who"])),
    (
        re.compile(r"0\d-01-0(?P<what>[1-8])-\d\d-\d\d-\d\d-(?P<who>\d\d)"),
        lambda m: (_RAVDESS[int(m["what"]) - 1], m["who"]),
    ),
    (
        re.compile(r"(?P<who>\d{4})_[A-Z]{3}_(?P<what>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{2}"),
        lambda m: (_CREMA_D[m["what"]], m["who"]),
    ),
)


@dataclass(frozen=True)
class Recording:
    """One recording: where it came from, its label's name, who speaks, its split, and its windows.

    `rows` are the windows, (k, 48000) float32 samples at 16 kHz, -1..1.
    """

    name: str
    label: str
    speaker: str
    split: str | None
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class _Listed:
    name: str
    label: str
    speaker: str
    split: str | None = None


def read(path: Path) -> Reading:
    """Read every recording below or in `path`.

    Args:
        path: a directory, a zip file or a CSV file.

    Raises:
        DatasetError: `path` is not there, or is none of the forms this module reads.
    """
    with opened(path) as (container, names):
        tables = [name for name in names if name.lower().endswith(".csv")]
        sounds = [name for name in names if PurePosixPath(name).suffix.lower() in _SOUNDS]
        if len(tables) == 1:
            listed = list(_manifest(container, tables[0]))
        elif sounds:
            listed = [_by_name(name) for name in sounds]
        else:
            message = f"{path} holds no recordings ({', '.join(sorted(_SOUNDS))}), and no CSV file that lists them."
            raise DatasetError(message)
        return _read(container, listed)


def decode(data: bytes) -> NDArray[np.float32]:
    """Decode a recording to one channel at 16 kHz without the silence at its ends.

    Returns:
        (n,) float32, -1..1.

    Raises:
        ValueError: it is no recording, is silent, or too short.
    """
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error.error_string).rstrip(".")) from error
    speech = trim(np.asarray(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE_HZ), np.float32))
    if len(speech) < SHORTEST_S * SAMPLE_RATE_HZ:
        message = f"{len(speech) / SAMPLE_RATE_HZ:.2f} s of sound; {SHORTEST_S} s are needed"
        raise ValueError(message)
    return speech


def trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the silence off both ends; all of it, if there is nothing else."""
    whole = len(samples) - len(samples) % _FRAME
    levels = np.square(samples[:whole].reshape(-1, _FRAME)).mean(axis=1)
    loud = np.flatnonzero(levels > levels.max(initial=0.0) * 10 ** (SILENCE_DB / 10))
    return samples[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME] if len(loud) else samples[:0]


def windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a recording as a client does: every 1.5 s, the last window at its end; zeros behind what is shorter than 3 s.

    Args:
        samples: (n,) at 16 kHz.

    Returns:
        (k, 48000), k at least 1.
    """
    (length,) = AUDIO.shape
    if len(samples) <= length:
        return np.pad(samples, (0, length - len(samples)))[None]
    last = len(samples) - length
    starts = [*range(0, last, int(WINDOW_HOP_S * SAMPLE_RATE_HZ)), last]
    return np.stack([samples[start : start + length] for start in starts])


def _read(container: Container, listed: list[_Listed]) -> Reading:
    reading = Reading()
    left_out: Counter[str] = Counter()
    for one in listed:
        if one.label in _LEFT_OUT:
            left_out[one.label] += 1
            continue
        try:
            samples = decode(container.read(one.name))
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            reading.unreadable[one.name] = "not there" if missing else str(error)
            continue
        reading.examples.append(Recording(one.name, one.label, one.speaker, one.split, windows(samples)))
    reading.notes += [f"{count} recordings of {label} are left out." for label, count in left_out.items()]
    return reading


def _by_name(name: str) -> _Listed:
    *folders, file = PurePosixPath(name).parts
    for pattern, found in _RULES:
        if match := pattern.fullmatch(PurePosixPath(file).stem):
            return _Listed(name, *found(match))
    label = folders[-1].lower() if folders else ""
    above = folders[-2] if len(folders) > 1 else ""
    split = SPLITS.get(above.lower())
    return _Listed(name, label, "" if split else above, split)


def _manifest(container: Container, name: str) -> Iterator[_Listed]:
    with container.text(name) as file:
        rows: csv.DictReader[Any] = csv.DictReader(file)
        header = [column.strip().lower() for column in rows.fieldnames or ()]
        rows.fieldnames = [_COLUMNS.get(column, column) for column in header]
        if not {"path", "label"} <= set(rows.fieldnames):
            message = f"{name} has the columns {', '.join(header) or '(none)'}; needed: path,label[,speaker][,split]."
            raise DatasetError(message)
        folder = PurePosixPath(name).parent
        for row in rows:
            yield _listed(row, folder)


def _listed(row: Mapping[str, str | None], folder: PurePosixPath) -> _Listed:
    label, speaker, split = ((row.get(column) or "").strip() for column in ("label", "speaker", "split"))
    return _Listed(str(folder / (row["path"] or "")), label.lower(), speaker, SPLITS.get(split.lower()))
