"""Where a release store keeps its objects: a folder or a bucket of S3.

Both show whole objects only, and both change one on a condition: that it is still what the writer saw.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from serving.configuration import DISK_FULL, replaced_durably
from serving.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = ".lock"

# The one who has the condition met, and the one who comes at the same moment, get different codes.
_CONDITION_NOT_MET = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object: its bytes, and the tag that changes whenever they do."""

    content: bytes
    tag: str


class Objects(Protocol):
    """Objects by name, a path with slashes. Every method raises StoreError if the place cannot be reached or used."""

    url: str

    def names(self, folder: str) -> list[str]:
        """Last part of the name of each object in `folder`; none if it is not there."""

    def size(self, name: str) -> int | None:
        """Size in bytes; None if there is no such object."""

    def read(self, name: str) -> StoredObject | None:
        """A small object; None if there is none."""

    def write(self, name: str, content: bytes, *, replacing: StoredObject | None) -> bool:
        """Put a small object in the place of the one that was read, or where there was none.

        Returns:
            whether `content` is there now; False if somebody else was quicker.
        """

    def upload(self, file: Path, name: str) -> None:
        """Copy a file there, whatever is there now."""

    def download(self, name: str, file: Path) -> None:
        """Copy an object to a file.

        Raises:
            StoreError: there is no such object.
            OSError: the file cannot be written.
        """


def open_objects(url: str) -> Objects:
    """The objects at `url`: a path, ``file:///path`` or ``s3://bucket/prefix``.

    Raises:
        StoreError: it is none of these, the folder is not there, or what S3 needs is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return BucketObjects(url)
    if parts.scheme == "file" and not parts.netloc:
        return FolderObjects(Path(url2pathname(parts.path)))
    if url and "://" not in url:
        return FolderObjects(Path(url))
    raise StoreError(
        f"{url!r} is no place for releases. Set MIEN_RELEASE_STORE to a folder, to file:///FOLDER or to s3://BUCKET/PREFIX."
    )


class FolderObjects:
    """Objects as files of a folder, which may be on a mounted volume.

    Args:
        path: the folder; it must be there, for a volume that is not mounted must not be taken for an empty one.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise StoreError(f"There is no folder {path} for releases. Make it, or mount the volume that it is on.")
        self.url = str(path)
        self._path = path

    def names(self, folder: str) -> list[str]:
        """See `Objects`."""
        with self._errors(folder):
            path = self._path / folder
            return (
                sorted(file.name for file in path.iterdir() if not file.name.startswith(".")) if path.is_dir() else []
            )

    def size(self, name: str) -> int | None:
        """See `Objects`."""
        with self._errors(name):
            try:
                return (self._path / name).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, name: str) -> StoredObject | None:
        """See `Objects`."""
        with self._errors(name):
            try:
                content = (self._path / name).read_bytes()
            except FileNotFoundError:
                return None
        return StoredObject(content, hashlib.sha256(content).hexdigest())

    def write(self, name: str, content: bytes, *, replacing: StoredObject | None) -> bool:
        """See `Objects`."""
        path = self._path / name
        with self._errors(name), (self._path / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.read(name) != replacing:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced_durably(path) as file:
                file.write(content)
        return True

    def upload(self, file: Path, name: str) -> None:
        """See `Objects`."""
        target = self._path / name
        with self._errors(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, replaced_durably(target) as copy:
                shutil.copyfileobj(source, copy)

    def download(self, name: str, file: Path) -> None:
        """See `Objects`."""
        if self.size(name) is None:
            raise _missing(name, self.url)
        shutil.copyfile(self._path / name, file)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{name} in {self.url} cannot be read or written: {error.strerror or error}.") from error


class BucketObjects:
    """Objects of a bucket of S3, or of a server that speaks S3, below a prefix.

    Keys, profile, region and endpoint are those of every tool for S3: AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_REGION,
    AWS_ENDPOINT_URL and their kin, or the machine's role.

    Args:
        url: ``s3://bucket/prefix``.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec

            # Others write there: what was listed a moment ago says nothing.
            self._files, path = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            raise StoreError(
                f"{url} needs the packages fsspec and s3fs: `uv sync --group store` installs them."
            ) from error
        self.url = url.rstrip("/")
        self._bucket = urlsplit(url).netloc
        self._path = str(path).rstrip("/")
        self._keeps_conditions = False

    def names(self, folder: str) -> list[str]:
        """See `Objects`."""
        with self._errors(folder):
            try:
                paths: list[str] = self._files.ls(f"{self._path}/{folder}", detail=False)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return []
        return sorted(path.rpartition("/")[2] for path in paths)

    def size(self, name: str) -> int | None:
        """See `Objects`."""
        found = self._info(name)
        return None if found is None else int(found["size"])

    def read(self, name: str) -> StoredObject | None:
        """See `Objects`."""
        # The tag first: if somebody writes in between, it is too old, and a write on its condition is refused.
        found = self._info(name)
        if found is None:
            return None
        with self._errors(name):
            return StoredObject(self._files.cat_file(f"{self._path}/{name}"), found["ETag"])

    def write(self, name: str, content: bytes, *, replacing: StoredObject | None) -> bool:
        """See `Objects`."""
        self._check_conditions()
        return self._put(name, content, replacing)

    def upload(self, file: Path, name: str) -> None:
        """See `Objects`."""
        with self._errors(name):
            self._files.put_file(str(file), f"{self._path}/{name}")

    def download(self, name: str, file: Path) -> None:
        """See `Objects`."""
        with self._errors(name):
            self._files.get_file(f"{self._path}/{name}", str(file))

    def _info(self, name: str) -> dict[str, Any] | None:
        with self._errors(name):
            try:
                return dict(self._files.info(f"{self._path}/{name}"))
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None

    def _put(self, name: str, content: bytes, replacing: StoredObject | None) -> bool:
        condition = {"IfMatch": replacing.tag} if replacing else {"IfNoneMatch": "*"}
        with self._errors(name):
            try:
                self._files.pipe_file(f"{self._path}/{name}", content, **condition)
            except OSError as error:
                if _code(error) not in _CONDITION_NOT_MET:
                    raise
                # An answer that was lost had the request repeated: then it is our own write that is in the way.
                found = self.read(name)
                return found is not None and found.content == content
        return True

    def _check_conditions(self) -> None:
        """A server that does not know conditions would write in spite of them.

        Raises:
            StoreError: this one does.
        """
        name = "writes-are-conditional"
        if not self._keeps_conditions and self._put(name, os.urandom(8), None) and self._put(name, os.urandom(8), None):
            raise StoreError(
                f"The server of {self.url} writes over objects that it was told not to: it does not know conditional"
                " writes (If-None-Match), without which two hosts could mix their releases. Use one that does."
            )
        self._keeps_conditions = True

    def _check_bucket(self, error: FileNotFoundError) -> None:
        if _code(error) == "NoSuchBucket":
            raise error

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Translate what s3fs and botocore raise."""
        from botocore import exceptions

        try:
            yield
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as error:
            raise StoreError(
                f"{self.url} needs credentials: {error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
                " AWS_PROFILE, or give this machine a role."
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError, TimeoutError) as error:
            raise StoreError(
                f"{self.url} cannot be reached: {error}. Look at the network and at AWS_ENDPOINT_URL."
            ) from error
        except PermissionError as error:
            raise StoreError(f"{self.url} is not open to these credentials: {error}.") from error
        except FileNotFoundError as error:
            if _code(error) != "NoSuchBucket":
                raise _missing(name, self.url) from error
            raise StoreError(
                f"There is no bucket {self._bucket}. Make it, or correct MIEN_RELEASE_STORE, which is {self.url}."
            ) from error
        except exceptions.BotoCoreError as error:
            raise StoreError(f"{name} in {self.url} cannot be read or written: {error}.") from error
        except OSError as error:
            if error.errno in DISK_FULL:  # this machine's
                raise
            raise StoreError(f"{name} in {self.url} cannot be read or written: {error}.") from error


def _missing(name: str, url: str) -> StoreError:
    return StoreError(f"{url} has no object {name}. Push the release again.")


def _code(error: OSError) -> str | None:
    """The code that S3 gave for an error."""
    response = getattr(error.__cause__, "response", None)
    return response["Error"].get("Code") if response else None
