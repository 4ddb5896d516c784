"""A dataset of faces in memory: pictures, labels and splits."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.contract import EMOTION_LABELS
from training.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


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


@dataclass(frozen=True)
class Dataset:
    """A named dataset; `splits` holds some of ``train``, ``validation`` and ``test``."""

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]


def load(path: Path) -> Dataset:
    """Read FER-2013 as a directory tree or a zip of one.

    Raises:
        DatasetError: `path` does not hold such a dataset.
    """
    found: dict[str, list[tuple[str, NDArray[np.uint8], int]]] = {}
    for name, data in _files(path):
        parts = PurePosixPath(name).parts
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is None:
            message = f"{name} in {path} is not a picture."
            raise DatasetError(message)
        found.setdefault(_split_of(parts), []).append(
            (name, np.asarray(image, np.uint8), EMOTION_LABELS.index(parts[-2]))
        )
    if not found:
        message = f"There are no pictures in {path}."
        raise DatasetError(message)
    splits = {}
    for split, rows in found.items():
        names, images, labels = zip(*rows, strict=True)
        splits[split] = Split(np.stack(images)[..., None], np.asarray(labels, np.int64), names)
    return Dataset("fer2013", EMOTION_LABELS, splits)


def _split_of(parts: tuple[str, ...]) -> str:
    if parts[-3] == "train":
        return "train"
    return "test" if parts[-1].startswith("PrivateTest") else "validation"


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*.*")):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("/"):
                yield name, archive.read(name)
