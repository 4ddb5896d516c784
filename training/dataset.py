"""A dataset in memory, of faces or of speech: examples, labels, splits and a digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.contract import AUDIO, EMOTION, FACES
from training import sources
from training.errors import DatasetError
from training.reading import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec, TensorSpec
    from training.reading import Example, Reading

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
        examples: faces, (N, 48, 48, 1) uint8 grey levels, or windows of speech, (N, 48000) float32 samples.
        labels: (N,) int64, indices into the dataset's labels.
        names: where each came from; windows of one recording have one name.
        speakers: whose voice each is; empty where that is not known or means nothing.
    """

    examples: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    speakers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The examples at `rows`, in that order."""
        names = tuple(self.names[row] for row in rows)
        speakers = tuple(self.speakers[row] for row in rows) if self.speakers else ()
        return Split(self.examples[rows], self.labels[rows], names, speakers)


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
        """The examples to fit on."""
        return self.splits["train"]

    @property
    def validation(self) -> Split:
        """The examples to choose a model by; FER-2013's PublicTest."""
        return self.splits["validation"]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all splits, labels and examples: the same for the same ones in any order, form or packing."""
        rows = []
        for name, split in self.splits.items():
            for example, label in zip(split.examples, split.labels, strict=True):
                rows.append(hashlib.sha256(f"{name}/{self.labels[label]}/".encode() + example.tobytes()).digest())
        return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


def load(path: Path, ensemble: EnsembleSpec = EMOTION, *, skip_unreadable: bool = False, seed: int = 0) -> Dataset:
    """Read a dataset; `training.sources` and `training.recordings` say in which forms.

    The source's splits are kept. Without a validation split, a stratified tenth of the training examples becomes it; of
    speech whose speakers are known, all recordings of one speaker or more.

    Args:
        path: a directory, a zip file or a CSV file.
        ensemble: what it is for: says whether faces or recordings are read, and which labels they have.
        skip_unreadable: leave out unreadable files instead of refusing the dataset.
        seed: of the validation split, where it is drawn.

    Raises:
        DatasetError: the dataset cannot be trained on; the message names everything that is wrong.
    """
    reading = read(path, ensemble)
    if skip_unreadable:
        reading.unreadable.clear()
    dataset, problems = assemble(path.stem, reading, ensemble, seed=seed)
    fatal = [problem.message for problem in problems if problem.fatal]
    if dataset is None or fatal:
        raise DatasetError(f"{path} cannot be trained on. " + " ".join(fatal))
    return dataset


def read(path: Path, ensemble: EnsembleSpec) -> Reading:
    """Read the examples that `ensemble` takes."""
    return _MODALITIES[ensemble.input].read(path)


def assemble(
    name: str, reading: Reading, ensemble: EnsembleSpec = EMOTION, *, seed: int = 0
) -> tuple[Dataset | None, list[Problem]]:
    """Sort the examples of a source into splits.

    Returns:
        The dataset, or None if it holds no usable example, and all that is wrong with it.
    """
    noun, labels = _MODALITIES[ensemble.input].noun, ensemble.labels
    problems = reading.problems()
    known: list[tuple[Example, int]] = []
    unknown: Counter[str] = Counter()
    for example in reading.examples:
        index = _label_index(example.label, labels)
        if index is None:
            unknown[example.label] += 1
        else:
            known.append((example, index))
    for label, count in unknown.items():
        message = f"Label {label!r} ({count} {noun}s) is none of {', '.join(labels)}; rename or remove it."
        problems.append(Problem(message, fatal=True))
    if not known:
        return None, [*problems, Problem(f"There is no {noun} with a known label.", fatal=True)]
    splits = _split(known)
    problems += _empty_classes(splits, labels, noun)
    if any(problem.fatal for problem in problems) or "validation" in splits:
        return Dataset(name, labels, splits), problems
    return Dataset(name, labels, {**splits, **_hold_out(splits["train"], seed)}), problems


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


def by_speaker(split: Split, held: Collection[str]) -> tuple[Split, Split]:
    """Divide `split` in two, the second with everything that the speakers `held` say."""
    theirs = np.isin(split.speakers, list(held))
    return split.take(np.flatnonzero(~theirs)), split.take(np.flatnonzero(theirs))


def _hold_out(train: Split, seed: int) -> dict[str, Split]:
    speakers = sorted(set(train.speakers))
    if len(speakers) > 1:
        order = np.random.default_rng(seed).permutation(len(speakers))
        count = max(1, round(VALIDATION_SHARE * len(speakers)))
        kept, held = by_speaker(train, {speakers[place] for place in order[:count]})
    else:
        kept, held = hold_out(train, VALIDATION_SHARE, seed)
    return {"train": kept, "validation": held}


def _label_index(label: str, labels: Sequence[str]) -> int | None:
    """Index of a label's name, or of its number in the labels' order."""
    if label.isdecimal() and int(label) < len(labels):
        return int(label)
    label = _ALIASES.get(label, label)
    return labels.index(label) if label in labels else None


def _split(examples: Sequence[tuple[Example, int]]) -> dict[str, Split]:
    """By the source's splits; what has none is for training."""
    parts: dict[str, list[tuple[Example, int]]] = {}
    for example, label in examples:
        parts.setdefault(example.split or "train", []).append((example, label))
    return {name: _stacked(parts[name]) for name in ("train", "validation", "test") if name in parts}


def _stacked(examples: Sequence[tuple[Example, int]]) -> Split:
    counts = [len(example.rows) for example, _ in examples]
    repeated = [example for (example, _), count in zip(examples, counts, strict=True) for _ in range(count)]
    known = all(example.speaker for example in repeated)
    return Split(
        np.concatenate([example.rows for example, _ in examples]),
        np.repeat(np.asarray([label for _, label in examples], np.int64), counts),
        tuple(example.name for example in repeated),
        tuple(example.speaker for example in repeated) if known else (),
    )


def _empty_classes(splits: Mapping[str, Split], labels: Sequence[str], noun: str) -> list[Problem]:
    if "train" not in splits:
        return [Problem(f"There are no training {noun}s, only {' and '.join(splits)}.", fatal=True)]
    problems = []
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(labels))
        empty = [label for label, count in zip(labels, counts, strict=True) if not count]
        if empty:
            message = f"0 of the {len(split)} {name} {noun}s are {' or '.join(empty)}; every class needs {noun}s."
            problems.append(Problem(message, fatal=name == "train"))
    return problems


def _recordings(path: Path) -> Reading:
    from training import recordings  # needs libraries of sound, which pictures can do without

    return recordings.read(path)


@dataclass(frozen=True)
class _Modality:
    read: Callable[[Path], Reading]
    noun: str


_MODALITIES: Mapping[TensorSpec, _Modality] = {
    FACES: _Modality(sources.read, "face"),
    AUDIO: _Modality(_recordings, "recording"),
}
