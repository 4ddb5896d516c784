"""The pictures and recordings of the corrections: encrypted files in a folder or a bucket, named by correction id."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mien.errors import SettingsError
from mien.gateway.feedback.errors import FeedbackUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.gateway.feedback.keyring import Keyring

_ID = re.compile("[0-9a-f]{32}")
_NEW = ".new"


class EncryptedPictures:
    """Pictures by id.

    Args:
        url: a folder, or a URL that fsspec knows.
        keyring: encrypts them.

    Raises:
        SettingsError: the URL names no place.
    """

    def __init__(self, url: str, keyring: Keyring) -> None:
        self._keyring = keyring
        self._url = url
        try:
            self._files, self._root = fsspec.url_to_fs(url)
        except (ValueError, ImportError, OSError) as error:
            raise SettingsError(
                f"MIEN_FEEDBACK_PICTURES is {url!r}, which cannot be used ({error}). Give a folder, or a URL such as "
                "s3://bucket/path, which needs the package s3fs."
            ) from error

    def write(self, identifier: str, content: bytes) -> None:
        """Encrypt and keep a picture.

        Raises:
            FeedbackUnavailableError: it cannot be written.
            SettingsError: the keys cannot be used.
        """
        encrypted = self._keyring.encrypt(content)
        with self._translated():
            self._make_folder()
            self._files.pipe_file(self._path(identifier), encrypted)

    def read(self, identifier: str) -> bytes:
        """A picture as it was given to `write`.

        Raises:
            FeedbackUnavailableError: it is not there, cannot be read, or not with these keys.
        """
        with self._translated():
            encrypted = bytes(self._files.cat_file(self._path(identifier)))
        return self._keyring.decrypt(encrypted)

    def remove(self, identifier: str) -> None:
        """Remove a picture; it need not be there.

        Raises:
            FeedbackUnavailableError: it cannot be removed.
        """
        with self._translated():
            for path in (self._path(identifier), self._path(identifier) + _NEW):
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def ids(self) -> list[str]:
        """Of all pictures that are there.

        Raises:
            FeedbackUnavailableError: the place cannot be read.
        """
        with self._translated():
            self._files.invalidate_cache()
            if not self._files.exists(self._root):
                return []
            names = {
                str(path).rpartition("/")[2].removesuffix(_NEW) for path in self._files.ls(self._root, detail=False)
            }
        return sorted(name for name in names if _ID.fullmatch(name))

    def renew(self, identifier: str) -> None:
        """Encrypt a picture anew with the first key; one that was erased meanwhile stays so.

        Raises:
            FeedbackUnavailableError: it cannot be read or written.
        """
        path = self._path(identifier)
        with self._translated(), suppress(FileNotFoundError):
            renewed = self._keyring.renew(bytes(self._files.cat_file(path)))
            self._files.pipe_file(path + _NEW, renewed)
            self._files.mv(path + _NEW, path)

    def _path(self, identifier: str) -> str:
        return f"{self._root}/{identifier}"

    def _make_folder(self) -> None:
        if isinstance(self._files, LocalFileSystem):
            Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise FeedbackUnavailableError(f"The pictures in {self._url} cannot be used: {reason}.") from error
