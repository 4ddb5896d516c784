"""Reads faces from the forms in which people have them, and notes what is wrong on the way.

- a tree of folders, ``[split/]emotion/picture``, as FER-2013 is downloaded;
- FER-2013's CSV files, ``emotion,pixels,Usage``, also with the spaced headers of ``icml_face_data.csv``;
- a CSV manifest, ``path,label[,split]``, beside or above the pictures it names.

Each may lie in a directory or in a zip file.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from mien.contract import FACE_SIZE, PIXELS
from training.errors import DatasetError
from training.reading import NAMED, SPLITS, Reading, more, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from training.reading import Container

SIZE = PIXELS.shape[0]
"""Side of a face as it is kept, in pixels."""

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".tif", ".tiff"})
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
"""Pillow's names of these. It goes by the content: a file of another kind, such as EPS, for which it would start
Ghostscript, may be called anything."""

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_FER_CSV = ("icml_face_data.csv", "fer2013.csv")
_COLUMNS = {"file": "path", "image": "path", "emotion": "label", "usage": "split"}


@dataclass(frozen=True)
class Face:
    """One face: where it came from, its label's name, its split if one is given, and (48, 48) uint8 grey levels."""

    name: str
    label: str
    split: str | None
    image: NDArray[np.uint8]
    speaker: str = ""

    @property
    def rows(self) -> NDArray[np.uint8]:
        """The picture as one row, (1, 48, 48, 1)."""
        return self.image[None, ..., None]


def read(path: Path) -> Reading:
    """Read every face below or in `path`.

    Args:
        path: a directory, a zip file or a CSV file.

    Raises:
        DatasetError: `path` is not there, or is none of the forms this module reads.
    """
    with opened(path) as (container, names):
        tables = [name for name in names if name.lower().endswith(".csv")]
        table = next((name for wanted in _FER_CSV for name in tables if PurePosixPath(name).name == wanted), None)
        table = table or (tables[0] if len(tables) == 1 else None)
        if table:
            with container.text(table) as file:
                return _read_csv(file, container, table)
        pictures = [name for name in names if PurePosixPath(name).suffix.lower() in _PICTURES]
        if not pictures:
            message = f"{path} holds no pictures in folders named by emotion, and no CSV file that lists them."
            raise DatasetError(message)
        return _read_pictures(container, ((name, *_label_and_split(name)) for name in pictures))


def _label_and_split(name: str) -> tuple[str, str | None]:
    *folders, file = PurePosixPath(name).parts
    split = next((SPLITS[folder.lower()] for folder in reversed(folders[:-1]) if folder.lower() in SPLITS), None)
    # The tree people download keeps FER-2013's PublicTest and PrivateTest in one folder, told apart by the file's name.
    if split == "test" and file.startswith("PublicTest"):
        split = "validation"
    return folders[-1].lower() if folders else "", split


def _read_pictures(container: Container, rows: Iterable[tuple[str, str, str | None]]) -> Reading:
    reading = Reading()
    sizes: Counter[tuple[int, int]] = Counter()
    for name, label, split in rows:
        try:
            image, size = decode(container.read(name))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            missing = isinstance(error, FileNotFoundError)
            reading.unreadable[name] = "not there" if missing else str(error).splitlines()[0].partition("<")[0].strip()
            continue
        sizes[size] += 1
        reading.examples.append(Face(name, label, split, image))
    if len(sizes) > 1:
        counts = ", ".join(f"{count} of {w} x {h}" for (w, h), count in sizes.most_common(NAMED))
        note = f"Pictures of {len(sizes)} sizes ({counts}{more(sizes)}), scaled to {SIZE} x {SIZE}."
        reading.notes.append(note)
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


def _read_csv(file: Iterable[str], container: Container, name: str) -> Reading:
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
    split = SPLITS.get((row.get("split") or "").strip().lower())
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
        split = SPLITS.get((row.get("split") or "").strip().lower())
        reading.examples.append(Face(where, (row["label"] or "").strip().lower(), split, image))
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
