"""Putting a release into a model repository: all of it or nothing, under a number of its own. Serving it is promotion.

Files are copied beside their place and flushed to the disk; then each version's folder gets its name by one rename, the
one with the manifest last. A release without a manifest is none, so whoever dies on the way has published nothing, and
the next publisher clears up.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mien.contract import VARIANTS
from serving.configuration import CONFIG_NAME, serve_versions, sync_folder, write_durably
from serving.errors import PublishError
from serving.ledger import Ledger
from serving.manifest import MANIFEST_NAME, Manifest
from serving.repository import ModelRepository

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec

_INCOMING = "incoming-"


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
    exported = ModelRepository(source)
    manifest = exported.verify_release(ensemble, _only_release(exported, ensemble))
    ledger = Ledger(repository.path)
    with ledger.lock():
        clear_unfinished(repository, ensemble)
        for number in repository.releases(ensemble):
            known = repository.manifest(ensemble, number)
            if _content(known) == _content(manifest):
                return Publication(known, is_new=False)
        number = _next_number(repository, ensemble)
        staging = ledger.folder / f"{_INCOMING}{number}"
        try:
            numbered = _stage(source, manifest, number, staging)
            numbered.verify_files(staging)
            _move_in(staging, numbered, repository, source)
        except OSError as error:
            raise _failure(error, repository, source) from error
        finally:
            clear_unfinished(repository, ensemble)
    return Publication(numbered, is_new=True)


def clear_unfinished(repository: ModelRepository, ensemble: EnsembleSpec) -> None:
    """Remove what publishers left that did not finish; the lock must be held."""
    for staging in (repository.path / ".releases").glob(f"{_INCOMING}*"):
        number = staging.name.removeprefix(_INCOMING)
        if not (repository.path / ensemble.name / number / MANIFEST_NAME).exists():
            for model in _models(ensemble):
                shutil.rmtree(repository.path / model / number, ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)


def _only_release(exported: ModelRepository, ensemble: EnsembleSpec) -> int:
    releases = exported.releases(ensemble)
    if len(releases) != 1:
        raise PublishError(
            f"{exported.path} holds {len(releases) or 'no'} releases of {ensemble.name}; publishing takes the folder of"
            " one export. `python -m training export --repository FOLDER` makes one."
        )
    return releases[0]


def _models(ensemble: EnsembleSpec) -> list[str]:
    """Names of the ensemble and of every model that a release of it can have."""
    variants = [variant for variant in VARIANTS if variant.name == ensemble.name]
    models = [model.name for variant in variants for model in (*variant.members, *variant.twins)]
    return [*dict.fromkeys(models), ensemble.name]


def _next_number(repository: ModelRepository, ensemble: EnsembleSpec) -> int:
    folders = [path for model in _models(ensemble) for path in (repository.path / model).glob("[0-9]*")]
    return 1 + max((int(path.name) for path in folders if path.name.isdecimal()), default=0)


def _content(manifest: Manifest) -> set[tuple[str, str]]:
    """What tells two releases apart: the digests of their files, whatever their number."""
    return {(str(_renumber(PurePosixPath(name), 0)), digest) for name, digest in manifest.files.items()}


def _renumber(path: PurePosixPath, number: int) -> PurePosixPath:
    """``<model>/<version>/<file>`` with another version."""
    model, _, *rest = path.parts
    return PurePosixPath(model, str(number), *rest)


def _stage(source: Path, manifest: Manifest, number: int, staging: Path) -> Manifest:
    """Copy the files into `staging` under their new number, on the disk when this returns."""
    for name in manifest.files:
        target = staging / _renumber(PurePosixPath(name), number)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    numbered = manifest.model_copy(
        update={
            "release": number,
            "members": dict.fromkeys(manifest.members, number),
            "twins": dict.fromkeys(manifest.twins, number),
            "files": {str(_renumber(PurePosixPath(name), number)): digest for name, digest in manifest.files.items()},
        }
    )
    folder = staging / manifest.ensemble / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / MANIFEST_NAME, numbered.model_dump_json(by_alias=True, indent=2).encode())
    for path in staging.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    return numbered


def _move_in(staging: Path, manifest: Manifest, repository: ModelRepository, source: Path) -> None:
    number = str(manifest.release)
    for model in (*manifest.members, *manifest.twins, manifest.ensemble):
        folder = repository.path / model
        if not folder.exists():
            _introduce(source / model, folder, manifest.release)
        (staging / model / number).rename(folder / number)
        sync_folder(folder)


def _introduce(source: Path, folder: Path, release: int) -> None:
    """A model that the repository did not have yet brings its configuration."""
    folder.mkdir()
    write_durably(folder / CONFIG_NAME, (source / CONFIG_NAME).read_bytes())
    serve_versions(folder, [release])


def _failure(error: OSError, repository: ModelRepository, source: Path) -> PublishError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        size_mb = sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) / 1e6
        free_mb = shutil.disk_usage(repository.path).free / 1e6
        return PublishError(
            f"The disk of {repository.path} is full: the release takes {size_mb:.1f} MB, {free_mb:.1f} MB are free."
            " Free some (`python -m flows.release prune` removes old releases) and publish again; nothing was changed."
        )
    return PublishError(f"The release cannot be published to {repository.path}: {error}. Nothing was changed.")
