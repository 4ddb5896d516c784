"""API keys: the file holds their SHA-256 alone.

A key is ``mien_<id>_<secret>`` with 256 random bits in its secret, so a plain hash is as good as a slow one: there is
nothing to guess.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_KEY = re.compile(r"mien_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").hexdigest()


class ApiKey(BaseModel):
    """What is kept of a key.

    Attributes:
        id: its public part, which logs and limits know it by.
        name: what its maker called it.
        sha256: of the whole key, in hexadecimal.
        created: when it was made.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    sha256: str
    created: datetime


class _Content(BaseModel):
    keys: list[ApiKey] = []


class KeyFile:
    """The keys in a file; a change of the file counts from the next request on.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}

    def entries(self) -> list[ApiKey]:
        """All keys, the oldest first.

        Raises:
            SettingsError: the file cannot be read.
        """
        return _read(self._path)

    def add(self, name: str) -> str:
        """Make a key and return it; it cannot be had again.

        Raises:
            SettingsError: the file cannot be read or written.
        """
        identifier = secrets.token_hex(4)
        key = f"mien_{identifier}_{secrets.token_urlsafe(32)}"
        entry = ApiKey(id=identifier, name=name, sha256=_digest(key), created=datetime.now(UTC))
        with _locked(self._path):
            _write(self._path, [*_read(self._path), entry])
        return key

    def remove(self, name_or_id: str) -> list[ApiKey]:
        """Remove the keys with that name or id, and return them.

        Raises:
            SettingsError: there is none, or the file cannot be read or written.
        """
        with _locked(self._path):
            before = _read(self._path)
            gone = [key for key in before if name_or_id in (key.id, key.name)]
            if not gone:
                raise SettingsError(f"There is no key {name_or_id!r} in {self._path}; `keys list` shows what there is.")
            _write(self._path, [key for key in before if key not in gone])
        return gone

    def find(self, given: str) -> ApiKey | None:
        """The key that `given` is, or None."""
        self._reread()
        match = _KEY.fullmatch(given)
        known = self._keys.get(match[1]) if match else None
        # Against something in any case, so that time does not tell whether an id exists.
        is_right = hmac.compare_digest(_digest(given), known.sha256 if known else _NOBODY)
        return known if is_right else None

    def _reread(self) -> None:
        try:
            status = self._path.stat()
        except OSError:
            self._stamp, self._keys = None, {}
            return
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        try:
            self._keys = {key.id: key for key in _read(self._path)}
        except SettingsError as error:  # somebody is at it by hand: those that were good stay good
            logger.warning("keys_unreadable", extra={"reason": str(error)})
        self._stamp = stamp


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(path: Path) -> list[ApiKey]:
    try:
        return _Content.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"The file of API keys {path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise SettingsError(
            f"{path} is not a file of API keys; `python -m mien.gateway keys add` writes one."
        ) from error


def _write(path: Path, keys: list[ApiKey]) -> None:
    content = json.dumps({"keys": [key.model_dump(mode="json") for key in keys]}, indent=2)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner only
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{content}\n")
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise SettingsError(f"The file of API keys {path} cannot be written: {error.strerror or error}.") from error
