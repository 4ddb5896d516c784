"""A stranger's picture of a face → the crop that is kept.

What is kept is made anew from the pixels: 96 x 96 RGB as the model takes it, without the file's metadata, which may
hold a place and a time.
"""

from __future__ import annotations

import io
import warnings

import cv2
from PIL import Image

from mien import contract, images
from mien.errors import MediaError
from mien.gateway import memory

MAX_PIXELS = 1_048_576

MAX_RATIO = 1.1
"""Longer side by shorter: a face that is squeezed to a square is not the one that the model saw."""


class CropReader:
    """Decodes pictures of faces in the process it is made in, and confines that process."""

    def __init__(self, memory_bytes: int) -> None:
        cv2.setNumThreads(1)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        memory.limit(memory_bytes)

    def read(self, content: bytes) -> bytes:
        """The face as a PNG file of 96 x 96.

        Raises:
            MediaError: it cannot be used.
        """
        picture = images.read_image(content, MAX_PIXELS)
        height, width = picture.shape[:2]
        if max(height, width) > MAX_RATIO * min(height, width):
            raise MediaError(f"The picture has {width} x {height} pixels; send the face alone, as a square.")
        size = contract.FACE_SIZE
        interpolation = cv2.INTER_AREA if min(height, width) > size else cv2.INTER_LINEAR
        face = cv2.resize(picture, (size, size), interpolation=interpolation)
        with io.BytesIO() as file:
            Image.fromarray(face).save(file, "PNG")
            return file.getvalue()

    def rest(self) -> None:
        """Give back the memory that the last files took."""
        memory.trim()
