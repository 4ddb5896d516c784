"""A folder for videos until they are analysed; what a killed gateway left is removed by the next."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = "lock"


@contextmanager
def spool(folder: Path) -> Iterator[Path]:
    """A subfolder of `folder` for this process, removed at the end; those of dead processes are removed now.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=folder, prefix="gateway-"))
        lock = (own / _LOCK).open("w")
    except OSError as error:
        raise SettingsError(
            f"MIEN_GATEWAY_SPOOL is {str(folder)!r}, where nothing can be written: {error.strerror or error}."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held as long as this process lives, however it ends
        for other in folder.glob("gateway-*"):
            if other != own and _is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:  # it is held, or its owner is just making it
        return False
