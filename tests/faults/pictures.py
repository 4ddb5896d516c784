"""What callers of a gateway post."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.gateway import HEAD, PORTRAIT, head
from mien.video import VideoWriter

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = head(120)
"""A JPEG of 120 x 120 pixels with one face."""


def film(folder: Path, frames: int, side: int = 120, fps: int = 25) -> bytes:
    """A video of `frames` frames, each with one face that stays where it is."""
    with Image.open(PORTRAIT) as portrait:
        face = np.asarray(portrait.convert("RGB").crop(HEAD).resize((side, side)))
    path = folder / f"film-{frames}.mp4"
    with VideoWriter(path, fps) as writer:
        for _ in range(frames):
            writer.write(face)
    return path.read_bytes()
