"""Files that are fetched once, checked, and kept in the user's cache."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DetectorError, MienError
from mien.settings import YUNET_FILE, YUNET_SHA256, ClientSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 20.0
MAX_BYTES = 64 * 2**20


def fetch_once(url: str, sha256: str, target: Path) -> Path:
    """Return `target`, downloading it first unless it is there with the right digest.

    The download is written beside the target and renamed when its digest is right: an interrupted or altered one never
    stays. Several processes may do this at once.

    Raises:
        DetectorError: it cannot be fetched or written, or its SHA-256 is not `sha256`.
    """
    if is_intact(target, sha256):
        return target
    content = _download(url)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DetectorError(
            f"{url} gave {len(content)} bytes with SHA-256 {digest} instead of {sha256}; nothing was kept."
        )
    try:
        _write(target, content)
    except OSError as error:
        raise DetectorError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target


def is_intact(path: Path, sha256: str) -> bool:
    """Whether `path` is there with that digest."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 (settings allow http and https only)
            content: bytes = response.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        raise DetectorError(f"{url} cannot be fetched: {error}.") from error
    return content


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(beside).replace(target)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m mien.downloads FOLDER``: have YuNet there, for images that must not fetch anything when they run."""
    parser = argparse.ArgumentParser(prog="python -m mien.downloads", description="Have the face detector's file here.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    try:
        print(fetch_once(ClientSettings().yunet_url, YUNET_SHA256, folder / YUNET_FILE))
    except MienError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
