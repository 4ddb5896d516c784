"""What a source of examples holds, be they faces or speech: where they lie, what they are called, what is wrong."""

from __future__ import annotations

import io
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol

from training.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sized

    from numpy.typing import NDArray

SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "publictest": "validation",
    "test": "test",
    "privatetest": "test",
}
"""How the parts of a dataset are called, and what they are."""

NAMED = 5
"""How many things of a kind a message names."""


class Example(Protocol):
    """A face or a recording with its label."""

    @property
    def name(self) -> str:
        """Where it came from."""

    @property
    def label(self) -> str:
        """Its label's name, or a spelling of it."""

    @property
    def split(self) -> str | None:
        """Its part of the dataset, if one is given."""

    @property
    def speaker(self) -> str:
        """Whose voice it is; empty where that is not known or means nothing."""

    @property
    def rows(self) -> NDArray[Any]:
        """What is trained on: one row of a face, one or more of a recording."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a dataset; a `fatal` one keeps it from being trained on."""

    message: str
    fatal: bool


@dataclass
class Reading:
    """What a source held: its examples, and what was wrong with the rest.

    Attributes:
        examples: what could be read.
        unreadable: name of a file → why it could not be read.
        notes: what is worth knowing besides.
    """

    examples: list[Example] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def problems(self) -> list[Problem]:
        """Unreadable files, with their count, and the notes."""
        found = []
        if self.unreadable:
            named = "; ".join(f"{name}: {reason}" for name, reason in list(self.unreadable.items())[:NAMED])
            found.append(Problem(f"{len(self.unreadable)} unreadable: {named}{more(self.unreadable)}.", fatal=True))
        return [*found, *(Problem(note, fatal=False) for note in self.notes)]


class Directory:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[str]:
        """Paths of all files, with slashes."""
        for file in self._root.rglob("*"):
            if file.is_file():
                yield file.relative_to(self._root).as_posix()

    def read(self, name: str) -> bytes:
        """One file; FileNotFoundError if it is not there, ValueError if the name leads out of the folder."""
        if Path(name).is_absolute() or os.path.normpath(name).startswith(".."):
            message = "leads out of the dataset"
            raise ValueError(message)
        return (self._root / name).read_bytes()

    def text(self, name: str) -> IO[str]:
        """A table, to be read line by line."""
        return (self._root / name).open(newline="", encoding="utf-8-sig")


class Zip:
    """Files in an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> Iterator[str]:
        """Paths of all files, with slashes."""
        return (info.filename for info in self._archive.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """One file; FileNotFoundError if it is not there."""
        try:
            return self._archive.read(name)
        except KeyError:
            raise FileNotFoundError(name) from None

    def text(self, name: str) -> IO[str]:
        """A table, to be read line by line."""
        return io.TextIOWrapper(self._archive.open(name), encoding="utf-8-sig", newline="")


Container = Directory | Zip


@contextmanager
def opened(path: Path) -> Iterator[tuple[Container, list[str]]]:
    """The files of a directory, of a zip file, or beside a CSV file, and the names to look through.

    Raises:
        DatasetError: `path` is not there, or is none of these.
    """
    if not path.exists():
        message = f"There is no dataset at {path}."
        raise DatasetError(message)
    if path.is_dir():
        yield (container := Directory(path)), visible(container)
    elif path.suffix.lower() == ".csv":
        yield Directory(path.parent), [path.name]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield (packed := Zip(archive)), visible(packed)
    else:
        message = f"{path} is no directory, zip file or CSV file. Unpack it, then give the directory."
        raise DatasetError(message)


def visible(container: Container) -> list[str]:
    """Names of all files but hidden ones, in order."""
    hidden = (".", "__MACOSX")
    return sorted(
        name for name in container.names() if not any(part.startswith(hidden) for part in PurePosixPath(name).parts)
    )


def more(items: Sized) -> str:
    """What follows the `NAMED` first of `items` in a message."""
    return f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
