"""The keys that the pictures are encrypted with: Fernet, that is AES-128 in CBC mode and HMAC-SHA256."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mien.errors import SettingsError
from mien.gateway.feedback.errors import FeedbackUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.gateway.feedback.settings import FeedbackSettings

_KEPT = 2
"""Keys in the file after a rotation: the new one, and the one that a gateway may have been writing with meanwhile."""


class Keyring:
    """Encrypts with the first key and decrypts with any of them.

    The file is read at each use, so that a rotation counts at once in every process.

    Args:
        settings: the keys themselves, or the file that holds them.
    """

    def __init__(self, settings: FeedbackSettings) -> None:
        self._given = settings.key
        self._file = settings.key_file

    def check(self) -> None:
        """Look at the keys, if there are any yet.

        Raises:
            SettingsError: they are no keys, or cannot be read.
        """
        if self._given is not None or self._file.exists():
            self._fernet()

    def encrypt(self, content: bytes) -> bytes:
        """Encrypt with the first key, which is made if there is none.

        Raises:
            SettingsError: the keys cannot be used or made.
        """
        if self._given is None and not self._file.exists():
            _make(self._file)
        return self._fernet().encrypt(content)

    def decrypt(self, content: bytes) -> bytes:
        """Decrypt with whichever key fits.

        Raises:
            FeedbackUnavailableError: none does, or the content was changed.
            SettingsError: the keys cannot be used.
        """
        try:
            return self._fernet().decrypt(content)
        except InvalidToken as error:
            raise FeedbackUnavailableError(
                f"A picture cannot be decrypted: it is damaged, or its key is not in {self._source}."
            ) from error

    def renew(self, content: bytes) -> bytes:
        """Encrypt with the first key what was encrypted with any.

        Raises:
            FeedbackUnavailableError: none fits.
            SettingsError: the keys cannot be used.
        """
        return self.encrypt(self.decrypt(content))

    def add_key(self) -> None:
        """Put a new key before those in the file; keys that come from a setting are their operator's to add.

        Raises:
            SettingsError: the file cannot be written.
        """
        if self._given is None:
            before = self._keys() if self._file.exists() else []
            _write(self._file, [Fernet.generate_key().decode(), *before])

    def forget_old_keys(self) -> None:
        """Forget the keys in the file that nothing is encrypted with any more.

        Raises:
            SettingsError: the file cannot be written.
        """
        if self._given is None and self._file.exists():
            _write(self._file, self._keys()[:_KEPT])

    @property
    def _source(self) -> str:
        return "MIEN_FEEDBACK_KEY" if self._given is not None else str(self._file)

    def _keys(self) -> list[str]:
        if self._given is not None:
            text = self._given.get_secret_value().replace(",", "\n")
        else:
            try:
                text = self._file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"The keys of the pictures cannot be read from {self._file}: {error}.") from error
        return text.split()

    def _fernet(self) -> MultiFernet:
        try:
            return MultiFernet([Fernet(key) for key in self._keys()])
        except ValueError as error:
            raise SettingsError(
                f"{self._source} holds no keys: each is 32 bytes in URL-safe base64. Make one with "
                '`python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`.'
            ) from error


def _make(file: Path) -> None:
    """Write a first key; of two processes that do so at once, one wins."""
    _write(file, [Fernet.generate_key().decode()], replace=False)


def _write(file: Path, keys: Sequence[str], *, replace: bool = True) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # readable by its owner only
        beside = Path(name)
        try:
            with os.fdopen(handle, "w") as target:
                target.writelines(f"{key}\n" for key in keys)
                target.flush()
                os.fsync(target.fileno())
            if replace:
                beside.replace(file)
            elif not file.exists():
                _link(beside, file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"The keys of the pictures cannot be written to {file}: {error.strerror}.") from error


def _link(beside: Path, file: Path) -> None:
    try:
        file.hardlink_to(beside)
    except FileExistsError:
        return
