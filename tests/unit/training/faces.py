"""Small datasets on disk for the tests."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.contract import EMOTION_LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def picture(seed: int, size: int = 48) -> NDArray[np.uint8]:
    """A smooth grey picture that differs from that of every other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def write_tree(root: Path, per_class: int = 2, splits: tuple[str, ...] = ("train/Training", "test/PublicTest")) -> Path:
    """FER-2013 as it is downloaded, with `per_class` faces of each emotion in each of `splits` (folder/prefix)."""
    number = 0
    for split in splits:
        folder, prefix = split.split("/")
        for label in EMOTION_LABELS:
            directory = root / folder / label
            directory.mkdir(parents=True, exist_ok=True)
            for _ in range(per_class):
                (directory / f"{prefix}_{number:05d}.png").write_bytes(png(picture(number)))
                number += 1
    return root


def zipped(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, f"fer/{file.relative_to(root)}")
    return path


def write_csv(path: Path, tree: Path, header: str = "emotion,pixels,Usage") -> Path:
    """The tree's faces in the original CSV form."""
    usage = {"Training": "Training", "PublicTest": "PublicTest", "PrivateTest": "PrivateTest"}
    lines = [header]
    columns = [column.strip().lower() for column in header.split(",")]
    for file in sorted(tree.rglob("*.png")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        values = {
            "emotion": str(EMOTION_LABELS.index(file.parent.name)),
            "pixels": " ".join(map(str, image.ravel())),
            "usage": usage[file.name.split("_")[0]],
        }
        lines.append(",".join(values[column] for column in columns))
    path.write_text("\n".join(lines) + "\n")
    return path
