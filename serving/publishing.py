"""Putting a release into a model repository: all of it or nothing, under a number of its own. Serving it is promotion.

Files are copied beside their place and flushed to the disk; then each version's folder gets its name by one rename, the
one with the manifest last. A release without a manifest is none, so whoever dies on the way has published nothing, and
the next publisher clears up.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.advice import release_command
from serving.configuration import CONFIG_NAME, DISK_FULL, own_files, serve_versions, sync_folder, write_durably
from serving.errors import PublishError
from serving.ledger import Ledger
from serving.manifest import MANIFEST_NAME, Manifest
from serving.repository import ModelRepository, models_of

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec

_INCOMING = "incoming"


@dataclass(frozen=True, slots=True)
class Publication:
    """A release that is in the repository; `is_new` is False if the same files had been published before."""

    manifest: Manifest
    is_new: bool


def publish(source: Path, repository: ModelRepository, ensemble: EnsembleSpec) -> Publication:
    """Copy an exported release into `repository`, under the next free number. Servers do not notice.

    Publishing the same files again gives the release that they are already, so a flow that was
    killed may simply run again.

    Args:
        source: folder of an export: a model repository with one release of the ensemble.
        repository: where it goes.
        ensemble: whose release it is.

    Raises:
        PublishError: `source` holds several releases or none, or the repository's disk is full.
        RepositoryError: the release in `source` is damaged or keeps another contract, or `repository` cannot be
            written.
    """
    manifest = _verified(source, ensemble)
    with Ledger(repository.path).lock():
        clear_unfinished(repository, ensemble)
        for number in repository.releases(ensemble):
            known = repository.manifest(ensemble, number)
            if known.content == manifest.content:
                return Publication(known, is_new=False)
        return _take_in(source, manifest, _next_number(repository, ensemble), repository, ensemble)


def adopt(source: Path, repository: ModelRepository, ensemble: EnsembleSpec) -> Publication:
    """Copy a release from another repository into `repository`, under the number that it has there.

    Args:
        source: a model repository with one release of the ensemble.
        repository: where it goes.
        ensemble: whose release it is.

    Raises:
        PublishError: another release has that number here, `source` holds several releases or none, or the
            repository's disk is full.
        RepositoryError: as `publish`.
    """
    manifest = _verified(source, ensemble)
    with Ledger(repository.path).lock():
        clear_unfinished(repository, ensemble)
        if known := adopted(manifest, repository, ensemble):
            return Publication(known, is_new=False)
        _clear_number(repository, ensemble, manifest.release)
        return _take_in(source, manifest, manifest.release, repository, ensemble)


def adopted(manifest: Manifest, repository: ModelRepository, ensemble: EnsembleSpec) -> Manifest | None:
    """The release of that number and content in `repository`; None if the number is free.

    Raises:
        PublishError: another release has the number.
    """
    if manifest.release not in repository.releases(ensemble):
        return None
    known = repository.manifest(ensemble, manifest.release)
    # Where a release was checked out alone, the twins are missing; what is served is the same.
    if known.without_twins().content != manifest.without_twins().content:
        raise PublishError(
            f"{repository.path} has another release {manifest.release} of its own. Give it another number in the store"
            f" (`{release_command(f'push {manifest.release} --as N', ensemble)}`) and begin with a new"
            " MIEN_MODEL_REPOSITORY."
        )
    return known


def clear_unfinished(repository: ModelRepository, ensemble: EnsembleSpec) -> None:
    """Remove what publishers of the ensemble's releases left that did not finish; the lock must be held."""
    begin = _staging(repository, ensemble)
    for staging in begin.parent.glob(f"{begin.name}*"):
        _clear_number(repository, ensemble, int(staging.name.removeprefix(begin.name)))
        shutil.rmtree(staging, ignore_errors=True)


def _staging(repository: ModelRepository, ensemble: EnsembleSpec, number: int | str = "") -> Path:
    """Where a release lies until it is moved in."""
    return Ledger(repository.path).folder / f"{_INCOMING}-{ensemble.name}-{number}"


def _clear_number(repository: ModelRepository, ensemble: EnsembleSpec, number: int) -> None:
    """Remove what has that number, unless it is a release."""
    if number not in repository.releases(ensemble):
        for model in models_of(ensemble):
            shutil.rmtree(repository.path / model / str(number), ignore_errors=True)


def _verified(source: Path, ensemble: EnsembleSpec) -> Manifest:
    exported = ModelRepository(source)
    return exported.verify_release(ensemble, _only_release(exported, ensemble))


def _only_release(exported: ModelRepository, ensemble: EnsembleSpec) -> int:
    releases = exported.releases(ensemble)
    if len(releases) != 1:
        raise PublishError(
            f"{exported.path} holds {len(releases) or 'no'} releases of {ensemble.name}; publishing takes the folder of"
            " one export. `python -m training export --repository FOLDER` makes one."
        )
    return releases[0]


def _next_number(repository: ModelRepository, ensemble: EnsembleSpec) -> int:
    folders = [path for model in models_of(ensemble) for path in (repository.path / model).glob("[0-9]*")]
    return 1 + max((int(path.name) for path in folders if path.name.isdecimal()), default=0)


def _take_in(
    source: Path, exported: Manifest, number: int, repository: ModelRepository, ensemble: EnsembleSpec
) -> Publication:
    """Copy the one release in `source` under a number that is free; the lock must be held."""
    manifest = exported.renumbered(number)
    staging = _staging(repository, ensemble, number)
    try:
        _stage(source, exported, manifest, staging)
        manifest.verify_files(staging)
        _move_in(staging, manifest, repository, source)
    except OSError as error:
        raise _failure(error, repository, source) from error
    finally:
        clear_unfinished(repository, ensemble)
    return Publication(manifest, is_new=True)


def _stage(source: Path, exported: Manifest, manifest: Manifest, staging: Path) -> None:
    """Copy the files into `staging` under their new number, on the disk when this returns."""
    for name, numbered in zip(exported.files, manifest.files, strict=True):
        target = staging / numbered
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    folder = staging / manifest.ensemble / str(manifest.release)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / MANIFEST_NAME, manifest.as_bytes())
    for path in staging.rglob("*"):
        if path.is_dir():
            sync_folder(path)


def _move_in(staging: Path, manifest: Manifest, repository: ModelRepository, source: Path) -> None:
    number = str(manifest.release)
    for model in (*manifest.members, *manifest.twins, manifest.ensemble):
        folder = repository.path / model
        if not (folder / CONFIG_NAME).exists():
            _introduce(source / model, folder, manifest.release)
        (staging / model / number).rename(folder / number)
        sync_folder(folder)


def _introduce(source: Path, folder: Path, release: int) -> None:
    """A model that the repository did not have yet brings its configurations."""
    # The one that makes it a model comes last.
    for name in sorted(own_files(source), key=lambda name: name == Path(CONFIG_NAME)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_durably(folder / name, (source / name).read_bytes())
    serve_versions(folder, [release])


def _failure(error: OSError, repository: ModelRepository, source: Path) -> PublishError:
    if error.errno in DISK_FULL:
        size_mb = sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) / 1e6
        free_mb = shutil.disk_usage(repository.path).free / 1e6
        return PublishError(
            f"The disk of {repository.path} is full: the release takes {size_mb:.1f} MB, {free_mb:.1f} MB are free."
            " Free some (`python -m flows.release prune` removes old releases) and publish again; nothing was changed."
        )
    return PublishError(f"The release cannot be published to {repository.path}: {error}. Nothing was changed.")
