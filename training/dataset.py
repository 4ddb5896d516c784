"""A dataset of faces in memory: pictures, labels, splits and a digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mien.contract import EMOTION_LABELS
from training import sources
from training.errors import DatasetError
from training.sources import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VALIDATION_SHARE = 0.1
"""Share of the training faces kept for validation where the dataset has no such split."""

_ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    Attributes:
        images: (N, 48, 48, 1) uint8, grey levels.
        labels: (N,) int64, indices into the dataset's labels.
        names: where each picture came from.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The faces at `rows`, in that order."""
        return Split(self.images[rows], self.labels[rows], tuple(self.names[row] for row in rows))


@dataclass(frozen=True)
class Dataset:
    """A named dataset.

    Attributes:
        name: the file's or directory's name.
        labels: meaning of the label indices.
        splits: ``train``, ``validation`` and, where the source has one, ``test``.
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def train(self) -> Split:
        """The faces to fit on."""
        return self.splits["train"]

    @property
    def validation(self) -> Split:
        """The faces to choose a model by; FER-2013's PublicTest."""
        return self.splits["validation"]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all splits, labels and pixels: the same for the same faces in any order, form or packing."""
        rows = []
        for name, split in self.splits.items():
            for image, label in zip(split.images, split.labels, strict=True):
                rows.append(hashlib.sha256(f"{name}/{self.labels[label]}/".encode() + image.tobytes()).digest())
        return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


def load(path: Path, *, skip_unreadable: bool = False, seed: int = 0) -> Dataset:
    """Read a dataset; `training.sources` says in which forms.

    The source's splits are kept. Without a validation split, a stratified tenth of the training faces becomes it.

    Args:
        path: a directory, a zip file or a CSV file.
        skip_unreadable: leave out unreadable files instead of refusing the dataset.
        seed: of the validation split, where it is drawn.

    Raises:
        DatasetError: the dataset cannot be trained on; the message names everything that is wrong.
    """
    reading = sources.read(path)
    if skip_unreadable:
        reading.unreadable.clear()
    dataset, problems = assemble(path.stem, reading, seed=seed)
    fatal = [problem.message for problem in problems if problem.fatal]
    if dataset is None or fatal:
        raise DatasetError(f"{path} cannot be trained on. " + " ".join(fatal))
    return dataset


def assemble(name: str, reading: sources.Reading, *, seed: int = 0) -> tuple[Dataset | None, list[Problem]]:
    """Sort the faces of a source into splits.

    Returns:
        The dataset, or None if it holds no usable face, and all that is wrong with it.
    """
    problems = reading.problems()
    known: list[tuple[sources.Face, int]] = []
    unknown: Counter[str] = Counter()
    for face in reading.faces:
        index = _label_index(face.label)
        if index is None:
            unknown[face.label] += 1
        else:
            known.append((face, index))
    for label, count in unknown.items():
        message = f"Label {label!r} ({count} faces) is none of {', '.join(EMOTION_LABELS)}; rename or remove it."
        problems.append(Problem(message, fatal=True))
    if not known:
        return None, [*problems, Problem("There is no face with a known label.", fatal=True)]
    splits = _split(known)
    problems += _empty_classes(splits)
    if any(problem.fatal for problem in problems) or "validation" in splits:
        return Dataset(name, EMOTION_LABELS, splits), problems
    return Dataset(name, EMOTION_LABELS, {**splits, **_hold_out(splits["train"], seed)}), problems


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Divide `split` in two, the second with `share` of every class.

    Raises:
        DatasetError: a class is too small to be divided.
    """
    from sklearn.model_selection import train_test_split  # takes seconds, and reading a dataset needs none of it

    try:
        kept, held = train_test_split(
            np.arange(len(split)), test_size=share, stratify=split.labels, random_state=np.random.RandomState(seed)
        )
    except ValueError as error:
        message = f"{share:.0%} of each class cannot be held out of {len(split)} faces: {error}"
        raise DatasetError(message) from error
    return split.take(np.sort(kept)), split.take(np.sort(held))


def balanced(split: Split, faces: int, seed: int) -> Split:
    """`faces` of `split`, as evenly from all classes as they allow; a class that is too small gives all it has.

    Raises:
        DatasetError: there are fewer faces than that, or fewer asked for than there are classes.
    """
    counts = np.bincount(split.labels)
    if not np.count_nonzero(counts) <= faces <= len(split):
        message = f"{faces} faces cannot be drawn: it must be from {np.count_nonzero(counts)} to {len(split)}."
        raise DatasetError(message)
    order = np.random.default_rng(seed).permutation(len(split))
    labels = split.labels[order]
    # Rank of each face within its class: the first `faces` by rank are the same number of every class.
    ranks = np.empty(len(order), np.int64)
    for label in np.flatnonzero(counts):
        ranks[labels == label] = np.arange(counts[label])
    return split.take(np.sort(order[np.argsort(ranks, kind="stable")[:faces]]))


def _hold_out(train: Split, seed: int) -> dict[str, Split]:
    kept, held = hold_out(train, VALIDATION_SHARE, seed)
    return {"train": kept, "validation": held}


def _label_index(label: str) -> int | None:
    """Index of a label's name, or of its number in FER-2013's order."""
    if label.isdecimal() and int(label) < len(EMOTION_LABELS):
        return int(label)
    label = _ALIASES.get(label, label)
    return EMOTION_LABELS.index(label) if label in EMOTION_LABELS else None


def _split(faces: Sequence[tuple[sources.Face, int]]) -> dict[str, Split]:
    """By the source's splits; what has none is for training."""
    rows: dict[str, list[tuple[sources.Face, int]]] = {}
    for face, label in faces:
        rows.setdefault(face.split or "train", []).append((face, label))
    return {
        name: Split(
            np.stack([face.image for face, _ in rows[name]])[..., None],
            np.asarray([label for _, label in rows[name]], np.int64),
            tuple(face.name for face, _ in rows[name]),
        )
        for name in ("train", "validation", "test")
        if name in rows
    }


def _empty_classes(splits: Mapping[str, Split]) -> list[Problem]:
    if "train" not in splits:
        return [Problem(f"There are no training faces, only {' and '.join(splits)}.", fatal=True)]
    problems = []
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(EMOTION_LABELS))
        empty = [label for label, count in zip(EMOTION_LABELS, counts, strict=True) if not count]
        if empty:
            message = f"0 of the {len(split)} {name} faces are {' or '.join(empty)}; every class needs faces."
            problems.append(Problem(message, fatal=name == "train"))
    return problems
