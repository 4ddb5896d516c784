"""The release store: where hosts share releases, and which of them they are to serve.

A release's files are objects that are named by their SHA-256, so nobody writes over what another has put there, and
what releases have in common is there once. They go up first; the record of the release, which lists them, is the last,
and is written only if the number is free. A release without a record is none, so whoever dies on the way has pushed
nothing. Which release is to be served says one object, changed only by whoever has seen what it was.
"""

from __future__ import annotations

import getpass
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.advice import release_command
from serving.configuration import DISK_FULL, change_configs, own_files, pin, serve_versions
from serving.errors import PublishError, StoreConflictError, StoreError
from serving.ledger import Ledger
from serving.manifest import MANIFEST_NAME, Manifest, RepositoryPath, Sha256, VersionNumber, file_sha256
from serving.objects import open_objects
from serving.promotion import variant_of
from serving.publishing import Publication, adopt, adopted

if TYPE_CHECKING:
    from pathlib import Path

    from mien.contract import EnsembleSpec
    from serving.objects import Objects
    from serving.repository import ModelRepository


class StoredRelease(BaseModel):
    """A release as the store's record tells it.

    Attributes:
        manifest: what it consists of.
        configurations: SHA-256 of what its models have beside their versions, by path relative to the repository, for
            repositories that do not have such a model yet.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    configurations: dict[RepositoryPath, Sha256]


class Current(BaseModel):
    """Which release is to be served.

    Attributes:
        release: its number.
        previous: what was to be served before; None for the first.
        at: since when, in UTC.
        by: the account that said so.
    """

    model_config = ConfigDict(frozen=True)

    release: VersionNumber
    previous: VersionNumber | None
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str = Field(default_factory=getpass.getuser)


class ReleaseStore:
    """Releases of one ensemble, in a folder or a bucket. Every method raises StoreError if that cannot be used.

    Args:
        objects: where.
        ensemble: whose releases; an attribute too.

    Example:
        store = open_store("s3://models/mien", EMOTION)
        store.push(repository, 2)
        store.set_current(2, expected=1)
    """

    def __init__(self, objects: Objects, ensemble: EnsembleSpec) -> None:
        self._objects = objects
        self.ensemble = ensemble

    @property
    def url(self) -> str:
        """Where it is."""
        return self._objects.url

    def releases(self) -> list[int]:
        """Numbers of all releases, ascending."""
        numbers = [name.removesuffix(".json") for name in self._objects.names(f"{self.ensemble.name}/releases")]
        return sorted(int(number) for number in numbers if number.isdecimal())

    def manifest(self, release: int) -> Manifest:
        """The manifest of a release.

        Raises:
            StoreError: there is no such release, or its record is damaged.
        """
        return self._record(release).manifest

    def push(self, repository: ModelRepository, release: int, *, number: int | None = None) -> bool:
        """Put a release there; the same one again does no harm, and brings back files that are missing.

        Args:
            repository: where it is.
            release: its number there.
            number: its number in the store; by default the same.

        Returns:
            whether it is new there.

        Raises:
            StoreConflictError: another release has that number in the store.
            RepositoryError: there is no such release in the repository, or it is damaged.
        """
        local = repository.verify_release(self.ensemble, release)
        record = StoredRelease(
            manifest=local.renumbered(number or release), configurations=self._push_configurations(repository, local)
        )
        known = self._find(record.manifest.release)
        if known is not None:
            self._check_same(known, record)
        for name, digest in local.files.items():
            self._push_file(repository.path / name, digest)
        if known is not None:
            return False
        if self._objects.write(self._name(record.manifest.release), _as_bytes(record), replacing=None):
            return True
        self._check_same(self._record(record.manifest.release), record)
        return False

    def pull(self, release: int, repository: ModelRepository) -> Publication:
        """Publish a release of the store into `repository`, under its number. Servers do not notice.

        Raises:
            StoreError: there is no such release, or an object is missing or damaged; nothing was changed.
            PublishError: `repository` has another release of that number, or its disk is full.
            RepositoryError: the release keeps another contract, or `repository` cannot be written.
        """
        record = self._record(release)
        ledger = Ledger(repository.path)
        with ledger.lock("download.lock"):  # one at a time: whoever comes next clears what one that died has left
            if known := adopted(record.manifest, repository, self.ensemble):
                known.verify_files(repository.path)
                return Publication(known, is_new=False)
            folder = ledger.folder / "download"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self.download(release, folder)
                return adopt(folder, repository, self.ensemble)
            except OSError as error:
                raise write_failure(error, repository.path, str(release)) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def download(self, release: int, folder: Path, *, twins: bool = True) -> Manifest:
        """Write a release into a folder, as a model repository in which its ensemble is pinned to it.

        Every file is held against its digest. A folder that holds releases of other ensembles keeps them.

        Args:
            release: its number.
            folder: to fill.
            twins: with the models in another format, which the ensemble does not use.

        Returns:
            the manifest of what was written.

        Raises:
            StoreError: there is no such release, or an object is missing or damaged.
            OSError: the folder cannot be written, or its disk is full.
        """
        record = self._record(release)
        manifest = record.manifest if twins else record.manifest.without_twins()
        variant = variant_of(self.ensemble, manifest)
        models = {*manifest.members, *manifest.twins, manifest.ensemble}
        configurations = {
            name: digest for name, digest in record.configurations.items() if name.partition("/")[0] in models
        }
        for name, digest in {**configurations, **manifest.files}.items():
            self._download_file(digest, folder / name, manifest)
        path = folder / manifest.ensemble / str(manifest.release) / MANIFEST_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.as_bytes())
        for model, version in {**manifest.members, **manifest.twins}.items():
            serve_versions(folder / model, [version])
        change_configs(
            folder / manifest.ensemble, lambda config: pin(config, variant, manifest.release, manifest.members)
        )
        return manifest

    def resolve(self, release: int | Literal["current"]) -> int:
        """The number of a release that may be named as the current one.

        Raises:
            StoreError: none is current.
        """
        if release != "current":
            return release
        current = self.current()
        if current is None:
            raise StoreError(
                f"{self.url} has no current release of {self.ensemble.name}. Say which:"
                f" `{self._command('push N --current')}`."
            )
        return current.release

    def current(self) -> Current | None:
        """The release that is to be served; None if nobody has said so yet.

        Raises:
            StoreError: what the store says is damaged.
        """
        stored = self._objects.read(self._current_name)
        return None if stored is None else self._parse_current(stored.content)

    def set_current(self, release: int, *, expected: int | None) -> Current:
        """Say which release is to be served.

        Args:
            release: its number; it must be in the store.
            expected: what is to be served until now, as the caller knows it; None for nothing.

        Raises:
            StoreConflictError: it is something else: somebody was quicker.
            StoreError: there is no such release.
        """
        self._record(release)
        stored = self._objects.read(self._current_name)
        before = None if stored is None else self._parse_current(stored.content).release
        wanted = Current(release=release, previous=before)
        if before != expected or not self._objects.write(
            self._current_name, wanted.model_dump_json().encode(), replacing=stored
        ):
            raise StoreConflictError(
                f"{self.url} was to have release {release} served instead of {expected or 'none'}, but somebody else"
                f" has changed it: look at `{self._command('list --store')}` and decide again."
            )
        return wanted

    def _command(self, arguments: str) -> str:
        return release_command(arguments, self.ensemble)

    @property
    def _current_name(self) -> str:
        return f"{self.ensemble.name}/current.json"

    def _name(self, release: int) -> str:
        return f"{self.ensemble.name}/releases/{release}.json"

    def _find(self, release: int) -> StoredRelease | None:
        stored = self._objects.read(self._name(release))
        if stored is None:
            return None
        try:
            record = StoredRelease.model_validate_json(stored.content)
        except ValidationError as error:
            raise StoreError(
                f"{self._name(release)} in {self.url} is damaged. Delete it and push the release again."
            ) from error
        return record

    def _record(self, release: int) -> StoredRelease:
        record = self._find(release)
        if record is None:
            raise StoreError(
                f"There is no release {release} of {self.ensemble.name} in {self.url}; there are {self.releases()}."
            )
        return record

    def _parse_current(self, content: bytes) -> Current:
        try:
            return Current.model_validate_json(content)
        except ValidationError as error:
            raise StoreError(
                f"{self._current_name} in {self.url} is damaged. Delete it and say again which release is current:"
                f" `{self._command('push N --current')}`."
            ) from error

    def _check_same(self, known: StoredRelease, pushed: StoredRelease) -> None:
        if known.manifest.content != pushed.manifest.content:
            number = pushed.manifest.release
            raise StoreConflictError(
                f"{self.url} has another release {number}, made by {known.manifest.created_by} at"
                f" {known.manifest.created_at:%Y-%m-%d %H:%M}. Push this one under a number that is free:"
                f" `{self._command(f'push N --as {max(*self.releases(), number) + 1}')}`."
            )

    def _push_configurations(self, repository: ModelRepository, manifest: Manifest) -> dict[str, str]:
        found = {}
        for model in (*manifest.members, *manifest.twins, manifest.ensemble):
            for name in own_files(repository.path / model):
                path = repository.path / model / name
                digest = found[f"{model}/{name.as_posix()}"] = file_sha256(path)
                self._push_file(path, digest)
        return found

    def _push_file(self, file: Path, digest: str) -> None:
        name = f"files/{digest}"
        if self._objects.size(name) != file.stat().st_size:
            self._objects.upload(file, name)

    def _download_file(self, digest: str, target: Path, manifest: Manifest) -> None:
        name = f"files/{digest}"
        target.parent.mkdir(parents=True, exist_ok=True)
        self._objects.download(name, target)
        found = file_sha256(target)
        if found != digest:
            raise StoreError(
                f"{name} in {self.url}, a file of release {manifest.release}, is damaged: its SHA-256 is {found}."
                f" Delete it and push the release again: `{self._command(f'push {manifest.release}')}`."
            )


def open_store(url: str | None, ensemble: EnsembleSpec) -> ReleaseStore:
    """The store at `url`.

    Args:
        url: as `serving.objects.open_objects` takes it.
        ensemble: whose releases.

    Raises:
        StoreError: there is none at `url`, or no URL was given.
    """
    if not url:
        raise StoreError("No release store is set. Set MIEN_RELEASE_STORE to a folder or to s3://BUCKET/PREFIX.")
    return ReleaseStore(open_objects(url), ensemble)


def _as_bytes(record: StoredRelease) -> bytes:
    return record.model_dump_json(by_alias=True, indent=2).encode()


def write_failure(error: OSError, folder: Path, release: str) -> PublishError:
    """What it means that a release could not be written to a folder."""
    if error.errno in DISK_FULL:
        free_mb = shutil.disk_usage(folder).free / 1e6
        return PublishError(
            f"The disk of {folder} is full: {free_mb:.1f} MB are free, too little for release {release}."
        )
    return PublishError(f"Release {release} cannot be written to {folder}: {error}.")
