"""Datasets of a base and the accepted corrections, each a folder of pictures or recordings with a manifest.

A correction's file is named by the correction's id, so that one that is erased is found in every dataset. The base's
splits are kept, and corrections are for training only: a model is never chosen by them.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import secrets
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from serving.configuration import write_durably

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from flows.feedback.forms import Form
    from training.dataset import Dataset

MANIFEST = "dataset.csv"
KEPT = 3
"""Datasets that are kept: a retraining that waits for its turn may still want an older one."""

_BASE, _FEEDBACK = Path("base"), Path("feedback")
_HEADER = ("path", "label", "speaker", "split")

Row = tuple[str, str, str, str]
"""A line of the manifest, as `_HEADER` names its columns."""


class FeedbackDatasets:
    """The datasets of one ensemble in a folder; one process works in it at a time.

    Args:
        folder: made if it is not there, readable by its owner only.
        form: of the ensemble's examples.
    """

    def __init__(self, folder: Path, form: Form) -> None:
        self._folder = folder
        self._form = form

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process works here."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def paths(self) -> list[Path]:
        """The datasets, the oldest first."""
        return sorted(path for path in self._folder.glob("feedback-*") if path.is_dir())

    def build(self, base: Dataset, source: Path, corrections: Mapping[str, tuple[str, bytes]], weight: int) -> Path:
        """Write a dataset; it is there whole or not at all.

        Args:
            base: what the corrections are added to.
            source: what the base was loaded from.
            corrections: by the correction's id, its label and what the form keeps of it.
            weight: how many times each correction counts.

        Returns:
            its folder, which `training.dataset.load` reads.

        Raises:
            OSError: a file of the base is gone, or nothing can be written.
        """
        for broken in self._folder.glob(".feedback-*"):
            shutil.rmtree(broken)
        name = f"feedback-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(2)}"
        beside = self._folder / f".{name}"
        rows: list[Row] = []
        for number, one in enumerate(self._form.examples(base, source)):
            path = _write(beside, _BASE / one.split / one.label / f"{number:06d}{one.suffix}", one.content)
            rows.append((path, one.label, one.speaker, one.split))
        for identifier, (label, content) in corrections.items():
            path = _write(beside, _FEEDBACK / label / f"{identifier}{self._form.suffix}", content)
            rows += [(path, label, "", "train")] * weight
        _write_manifest(beside, rows)
        return beside.rename(self._folder / name)

    def remove_old(self) -> None:
        """Remove all but the newest datasets."""
        for path in self.paths()[:-KEPT]:
            # Under another name first: nobody shall read half of one.
            shutil.rmtree(path.rename(path.with_name(f".{path.name}")))

    def keep_only(self, identifiers: Collection[str]) -> int:
        """Remove the files of all other corrections from every dataset; returns how many."""
        removed = 0
        for path in self.paths():
            gone = [file for file in (path / _FEEDBACK).glob(f"*/*{self._form.suffix}") if file.stem not in identifiers]
            if gone:
                names = {file.relative_to(path).as_posix() for file in gone}
                _write_manifest(path, [row for row in _read_manifest(path) if row[0] not in names])
            for file in gone:
                file.unlink()
            removed += len(gone)
        return removed


def _write(folder: Path, path: Path, content: bytes) -> str:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return path.as_posix()


def _write_manifest(folder: Path, rows: Sequence[Row]) -> None:
    with io.StringIO(newline="") as text:
        csv.writer(text, lineterminator=os.linesep).writerows([_HEADER, *rows])
        write_durably(folder / MANIFEST, text.getvalue().encode())


def _read_manifest(folder: Path) -> list[Row]:
    with (folder / MANIFEST).open(newline="") as file:
        return [(path, label, speaker, split) for path, label, speaker, split in list(csv.reader(file))[1:]]
