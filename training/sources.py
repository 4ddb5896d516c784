"""Reads faces from the forms in which people have them, and notes what is wrong on the way.

- a tree of folders, ``[split/]emotion/picture``, as FER-2013 is downloaded;
- FER-2013's CSV files, ``emotion,pixels,Usage``, also with the spaced headers of ``icml_face_data.csv``;
- a CSV manifest, ``path,label[,split]``, beside or above the pictures it names.

Each may lie in a directory or in a zip file.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from mien.contract import FACE_SIZE, PIXELS
from training.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sized

    from numpy.typing import NDArray

SIZE = PIXELS.shape[0]
"""Side of a face as it is kept, in pixels."""

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".tif", ".tiff"})
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
"""Pillow's names of these. It goes by the content: a file of another kind, such as EPS, for which it would start
Ghostscript, may be called anything."""

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_FER_CSV = ("icml_face_data.csv", "fer2013.csv")
_SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "publictest": "validation",
    "test": "test",
    "privatetest": "test",
}
_COLUMNS = {"file": "path", "image": "path", "emotion": "label", "usage": "split"}
_NAMED = 5


@dataclass(frozen=True)
class Face:
    """One face: where it came from, its label's name, its split if one is given, and (48, 48) uint8 grey levels."""

    name: str
    label: str
    split: str | None
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a dataset; a `fatal` one keeps it from being trained on."""

    message: str
    fatal: bool


@dataclass
class Reading:
    """What a source held: its faces, and what was wrong with the rest."""

    faces: list[Face] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def problems(self) -> list[Problem]:
        """Unreadable files and mixed sizes, with their counts."""
        found = []
        if self.unreadable:
            named = "; ".join(f"{name}: {reason}" for name, reason in list(self.unreadable.items())[:_NAMED])
            found.append(Problem(f"{len(self.unreadable)} unreadable: {named}{_more(self.unreadable)}.", fatal=True))
        if len(self.sizes) > 1:
            counts = ", ".join(f"{count} of {w} x {h}" for (w, h), count in self.sizes.most_common(_NAMED))
            message = f"Pictures of {len(self.sizes)} sizes ({counts}{_more(self.sizes)}), scaled to {SIZE} x {SIZE}."
            found.append(Problem(message, fatal=False))
        return found


def read(path: Path) -> Reading:
    """Read every face below or in `path`.

    Args:
        path: a directory, a zip file or a CSV file.

    Raises:
        DatasetError: `path` is not there, or is none of the forms this module reads.
    """
    if not path.exists():
        message = f"There is no dataset at {path}."
        raise DatasetError(message)
    if path.is_dir():
        return _read_container(_Directory(path), path)
    if path.suffix.lower() == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_csv(file, _Directory(path.parent), path.name)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _read_container(_Zip(archive), path)
    message = f"{path} is no directory, zip file or CSV file. Unpack it, then give the directory."
    raise DatasetError(message)


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[str]:
        for file in self._root.rglob("*"):
            if file.is_file():
                yield file.relative_to(self._root).as_posix()

    def read(self, name: str) -> bytes:
        if Path(name).is_absolute() or os.path.normpath(name).startswith(".."):
            message = "leads out of the dataset"
            raise ValueError(message)
        return (self._root / name).read_bytes()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> Iterator[str]:
        return (info.filename for info in self._archive.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except KeyError:
            raise FileNotFoundError(name) from None


def _read_container(container: _Directory | _Zip, path: Path) -> Reading:
    names = sorted(name for name in container.names() if not _hidden(name))
    tables = [name for name in names if name.lower().endswith(".csv")]
    table = next((name for wanted in _FER_CSV for name in tables if PurePosixPath(name).name == wanted), None)
    table = table or (tables[0] if len(tables) == 1 else None)
    if table:
        text = io.StringIO(container.read(table).decode("utf-8-sig"))
        return _read_csv(text, container, table)
    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in _PICTURES]
    if not pictures:
        message = f"{path} holds no pictures in folders named by emotion, and no CSV file that lists them."
        raise DatasetError(message)
    return _read_pictures(container, ((name, *_label_and_split(name)) for name in pictures))


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _label_and_split(name: str) -> tuple[str, str | None]:
    *folders, file = PurePosixPath(name).parts
    split = next((_SPLITS[folder.lower()] for folder in reversed(folders[:-1]) if folder.lower() in _SPLITS), None)
    # The tree people download keeps FER-2013's PublicTest and PrivateTest in one folder, told apart by the file's name.
    if split == "test" and file.startswith("PublicTest"):
        split = "validation"
    return folders[-1].lower() if folders else "", split


def _read_pictures(container: _Directory | _Zip, rows: Iterable[tuple[str, str, str | None]]) -> Reading:
    reading = Reading()
    for name, label, split in rows:
        try:
            image, size = decode(container.read(name))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            missing = isinstance(error, FileNotFoundError)
            reading.unreadable[name] = "not there" if missing else str(error).splitlines()[0].partition("<")[0].strip()
            continue
        reading.sizes[size] += 1
        reading.faces.append(Face(name, label, split, image))
    return reading


def decode(data: bytes) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode a picture to the (48, 48) uint8 grey levels that are trained on.

    A picture of another size goes the way of a crop on its way to the server: to the contract's 96 x 96 RGB, then by
    the average of each 2 x 2 square to 48 x 48 grey.

    Returns:
        The picture, and its original width and height.

    Raises:
        OSError, ValueError, SyntaxError: as Pillow raises them, if it is no picture, truncated, or of 16 bits.
    """
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        if picture.mode not in _MODES:
            message = f"pixels of kind {picture.mode}; 8 bits are needed"
            raise ValueError(message)
        picture.load()
        size = picture.size
        if size == (SIZE, SIZE):
            return np.array(picture.convert("L")), size
        pixels = np.array(picture.convert("RGB"))
    interpolation = cv2.INTER_AREA if min(size) >= FACE_SIZE else cv2.INTER_LINEAR
    crop = cv2.resize(pixels, (FACE_SIZE, FACE_SIZE), interpolation=interpolation)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8), size


def _read_csv(file: Iterable[str], container: _Directory | _Zip, name: str) -> Reading:
    rows = csv.DictReader(file)
    header = [column.strip().lower() for column in rows.fieldnames or ()]
    rows.fieldnames = [_COLUMNS.get(column, column) for column in header]
    if {"emotion", "pixels"} <= set(header):
        return _read_fer_rows(rows, name)
    if {"path", "label"} <= set(rows.fieldnames):
        folder = PurePosixPath(name).parent
        return _read_pictures(container, [_manifest_row(row, folder) for row in rows])
    message = (
        f"{name} has the columns {', '.join(header) or '(none)'}; needed: emotion,pixels,Usage or path,label,split."
    )
    raise DatasetError(message)


def _manifest_row(row: Mapping[str, str | None], folder: PurePosixPath) -> tuple[str, str, str | None]:
    split = _SPLITS.get((row.get("split") or "").strip().lower())
    return str(folder / (row["path"] or "")), (row["label"] or "").strip().lower(), split


def _read_fer_rows(rows: Iterable[Mapping[str, str | None]], name: str) -> Reading:
    reading = Reading()
    for line, row in enumerate(rows, start=2):
        where = f"{name}, line {line}"
        try:
            image = _parse_pixels(row["pixels"] or "")
        except ValueError as error:
            reading.unreadable[where] = str(error)
            continue
        reading.sizes[SIZE, SIZE] += 1
        split = _SPLITS.get((row.get("split") or "").strip().lower())
        reading.faces.append(Face(where, (row["label"] or "").strip().lower(), split, image))
    return reading


def _parse_pixels(text: str) -> NDArray[np.uint8]:
    with warnings.catch_warnings():  # older NumPy only warns of text that is no number
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(text, np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            message = "its pixels are not all whole numbers"
            raise ValueError(message) from None
    if values.size != SIZE * SIZE:
        message = f"{values.size} pixels; {SIZE} x {SIZE} are needed"
        raise ValueError(message)
    if values.min() < 0 or values.max() > 255:
        message = f"grey levels {values.min()} to {values.max()}; 0 to 255 are needed"
        raise ValueError(message)
    return values.astype(np.uint8).reshape(SIZE, SIZE)


def _more(items: Sized) -> str:
    return f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
