"""Pictures from anywhere → upright RGB arrays.

A picture is checked by its header before a pixel is decoded: a file of 48 KB can hold 400 million pixels.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import MediaError, MediaTooLargeError

if TYPE_CHECKING:
    from typing import IO

    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What is decoded; every further decoder is one more that strangers' files can attack."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
    UserWarning,  # only where the caller turned warnings into errors: Pillow warns of damaged metadata
)
"""What Pillow raises on a damaged file; tests hold it against truncated and altered pictures."""

ImageSource = str | os.PathLike[str] | bytes | Image.Image


def read_image(source: ImageSource | NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
    """Read a picture of any supported kind as it is meant to be looked at.

    EXIF orientation is applied, transparency is laid over white, 16-bit samples become 8-bit, CMYK, grey and palette
    pictures become RGB. Of a file with several pictures the first counts.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (H, W, 3) uint8 in RGB order (OpenCV's own
            reading gives BGR: turn it round first).
        max_pixels: largest width x height.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        MediaTooLargeError: the picture has more than `max_pixels`.
        MediaError: there is no such file, it is not a picture, it is truncated or damaged, or the array does not fit.
    """
    if isinstance(source, np.ndarray):
        return _checked_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _decode(source, "the picture", max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not len(source):
            raise MediaError("The picture is empty: zero bytes were given.")
        return _open_and_decode(io.BytesIO(source), "the picture", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source), max_pixels)
    raise MediaError(f"A picture must be a path, bytes, a PIL image or an RGB array, not {type(source).__name__!r}.")


def _checked_array(array: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise MediaError(
            "A picture given as an array must be (height, width, 3) uint8 in RGB order, "
            f"not {array.shape} {array.dtype}."
        )
    height, width = array.shape[:2]
    _check_size(width, height, "the array", max_pixels)
    return np.ascontiguousarray(array)


def _read_file(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0 and path.is_file():
                raise MediaError(f"{path} is empty: zero bytes.")
            return _open_and_decode(file, str(path), max_pixels)
    except FileNotFoundError as error:
        raise MediaError(f"There is no file {path}.") from error
    except IsADirectoryError as error:
        raise MediaError(f"{path} is a folder, not a picture.") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_and_decode(file: IO[bytes], name: str, max_pixels: int) -> NDArray[np.uint8]:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise MediaError(
            f"{_start(name)} is not a picture of a kind that is read here: {', '.join(FORMATS)}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaTooLargeError(f"{_start(name)} is too large: {error}") from error
    except _DECODER_ERRORS as error:
        raise MediaError(f"{_start(name)} is damaged: {error}.") from error
    with image:
        return _decode(image, name, max_pixels)


def _decode(image: Image.Image, name: str, max_pixels: int) -> NDArray[np.uint8]:
    _check_size(image.width, image.height, name, max_pixels)
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return np.asarray(_to_rgb(upright, name))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaTooLargeError(f"{_start(name)} is too large: {error}") from error
    except _DECODER_ERRORS as error:
        raise MediaError(f"{_start(name)} is truncated or damaged: {error}.") from error


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise MediaError(f"{_start(name)} has no pixels: {width} x {height}.")
    if width * height > max_pixels:
        raise MediaTooLargeError(
            f"{_start(name)} has {width} x {height} pixels, more than the limit of {max_pixels:,}; make it smaller or "
            "raise the setting max_pixels (MIEN_MAX_PIXELS)."
        )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        # Pillow would clip at 255: keep the upper byte of each sample instead.
        samples = np.asarray(image).astype(np.uint16)
        return Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise MediaError(
            f"{_start(name)} has 32-bit samples, whose black and white are unknown; save it with 8 or 16 bits."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _start(name: str) -> str:
    return name[0].upper() + name[1:] if name.startswith("the ") else name
