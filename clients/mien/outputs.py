"""Files that are written beside their name and get it when they are whole."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image

from mien.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def partial_name(path: Path) -> Path:
    """Where `path` is written until it is whole: beside it, with the same suffix."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextmanager
def replacing(path: Path, *, keep_partial: bool = False) -> Iterator[Path]:
    """Give a path to write to, and rename it to `path` at the end.

    After an error an existing `path` is left as it was, and what was written is removed.

    Args:
        path: replaced if it is there.
        keep_partial: after an error leave what was written under `partial_name`.

    Raises:
        MediaError: it cannot be written there.
    """
    beside = partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        try:
            yield beside
        except BaseException:
            if not keep_partial or not beside.stat().st_size:
                beside.unlink(missing_ok=True)
            raise
        beside.replace(path)
    except OSError as error:
        raise MediaError(f"{path} cannot be written: {error.strerror or error}.") from error


def save_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 3) uint8 RGB to `path`, in the format of its suffix.

    Raises:
        MediaError: the suffix names no picture format, or it cannot be written there.
    """
    with replacing(path) as beside:
        try:
            Image.fromarray(picture).save(beside, quality=92)
        except ValueError as error:
            raise MediaError(
                f"{path}: pictures are not written as {path.suffix or 'files without a suffix'}; use .jpg or .png."
            ) from error
