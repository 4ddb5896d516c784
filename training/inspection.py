"""What an engineer wants to know of a dataset before training on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.contract import EMOTION, FACES
from training.dataset import Dataset, assemble, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from training.reading import Problem

HASH_BITS = 4
"""Bits of 64 in which the hashes of near-duplicates may differ."""

SIMILARITY = 0.97
"""Correlation of the grey levels from which two faces with like hashes are taken for the same picture."""

_ROWS = 512


@dataclass(frozen=True)
class Duplicate:
    """Two faces that are nearly the same picture; splits, names and labels of both."""

    splits: tuple[str, str]
    names: tuple[str, str]
    labels: tuple[str, str]


@dataclass(frozen=True)
class Inspection:
    """The findings.

    Attributes:
        dataset: the dataset, None if nothing of it is usable.
        problems: what keeps it from being used, and what is only worth knowing.
        counts: faces by split and label.
        duplicates: near-duplicates, within splits and across them.
    """

    dataset: Dataset | None
    problems: list[Problem]
    counts: dict[str, dict[str, int]]
    duplicates: list[Duplicate]

    @property
    def leaks(self) -> list[Duplicate]:
        """Near-duplicates in two different splits: the model is tested on what it has seen."""
        return [pair for pair in self.duplicates if pair.splits[0] != pair.splits[1]]

    @property
    def contradictions(self) -> list[Duplicate]:
        """Near-duplicates with different labels: one of them is wrong."""
        return [pair for pair in self.duplicates if pair.labels[0] != pair.labels[1]]

    @property
    def label_noise(self) -> float | None:
        """Estimated share of wrong labels, from the near-duplicates; None without any.

        Two labels of one picture, each wrong with probability p, disagree with probability near 2p (p small).
        """
        return len(self.contradictions) / (2 * len(self.duplicates)) if self.duplicates else None


def inspect(path: Path, ensemble: EnsembleSpec = EMOTION) -> Inspection:
    """Read and examine the dataset at `path`, in any form that `training.sources` or `training.recordings` reads.

    Near-duplicates are looked for among faces.

    Raises:
        DatasetError: `path` is not there or is of no such form; everything else is a finding.
    """
    dataset, problems = assemble(path.stem, read(path, ensemble), ensemble)
    if dataset is None:
        return Inspection(None, problems, {}, [])
    counts = {}
    for name, split in dataset.splits.items():
        numbers = np.bincount(split.labels, minlength=len(dataset.labels)).tolist()
        counts[name] = dict(zip(dataset.labels, numbers, strict=True))
    duplicates = find_duplicates(dataset) if ensemble.input == FACES else []
    return Inspection(dataset, problems, counts, duplicates)


def find_duplicates(dataset: Dataset) -> list[Duplicate]:
    """Pairs of nearly the same picture anywhere in `dataset`."""
    where = [(name, row) for name, split in dataset.splits.items() for row in range(len(split))]
    images = np.concatenate([split.examples[..., 0] for split in dataset.splits.values()])

    def described(index: int) -> tuple[str, str, str]:
        name, row = where[index]
        split = dataset.splits[name]
        return name, split.names[row], dataset.labels[split.labels[row]]

    pairs = []
    for first, second in _similar_pairs(images):
        splits, names, labels = zip(described(first), described(second), strict=True)
        pairs.append(Duplicate(splits, names, labels))
    return pairs


def difference_hash(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A perceptual hash of 64 bits: whether each cell of a 8 x 9 reduction is brighter than its left neighbour.

    Args:
        images: (N, H, W) uint8.
    """
    reduced = np.stack([cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA) for image in images])
    bits = reduced[:, :, 1:] > reduced[:, :, :-1]
    return np.packbits(bits.reshape(len(images), 64), axis=1).view(np.uint64)[:, 0]


def _similar_pairs(images: NDArray[np.uint8]) -> list[tuple[int, int]]:
    hashes = difference_hash(images)
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), _ROWS):
        distance = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, start:])
        rows, columns = np.nonzero(distance <= HASH_BITS)
        later = columns > rows
        first, second = rows[later] + start, columns[later] + start
        alike = np.einsum("ij,ij->i", flat[first], flat[second]) >= SIMILARITY
        pairs += zip(first[alike].tolist(), second[alike].tolist(), strict=True)
    return pairs
