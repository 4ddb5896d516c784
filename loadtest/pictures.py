"""What is sent: photographs, and faces cut from them or made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loadtest.errors import LoadTestError
from mien import contract, faces, images
from mien.detectors import load_detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.settings import ClientSettings

PORTRAITS = Path(__file__).resolve().parent.parent / "docs/portraits"
"""Two portraits in the public domain, sent where no folder is named."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder and the folders in it, in order.

    Raises:
        LoadTestError: there is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise LoadTestError(f"{folder} holds no picture ({', '.join(SUFFIXES)}). Name a folder that does: --pictures.")
    return tuple(path.resolve() for path in found)


def made_faces(count: int) -> NDArray[np.uint8]:
    """(count, 96, 96, 3) uint8 of noise: what a face shows changes nothing in how long its classification takes."""
    return np.random.default_rng(0).integers(0, 256, (count, *contract.FACES.shape), np.uint8)


def cut_faces(pictures: Sequence[Path], settings: ClientSettings) -> NDArray[np.uint8]:
    """The faces of pictures, (N, 96, 96, 3) uint8 RGB.

    Raises:
        LoadTestError: they show no face.
        MediaError: one cannot be read.
        DetectorError: the face detector cannot be loaded.
    """
    detector = load_detector(settings)
    decoded = (images.read_image(path, settings.max_pixels) for path in pictures)
    crops = np.concatenate([faces.crops(picture, detector.detect(picture)) for picture in decoded])
    if not len(crops):
        raise LoadTestError(f"No face was found in {len(pictures)} pictures; leave --pictures out to send made faces.")
    return crops
