"""A folder that holds one release of each ensemble and nothing else: for a server that loads all it finds there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from serving.configuration import CONFIG_NAME
from serving.errors import RepositoryError, StoreError
from serving.ledger import FOLDER as LEDGER_FOLDER
from serving.repository import ModelRepository
from serving.store import write_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mien.contract import EnsembleSpec
    from serving.manifest import Manifest
    from serving.store import ReleaseStore

_INCOMING = ".incoming"


def check_out(releases: Mapping[ReleaseStore, int], folder: Path, *, twins: bool = False) -> bool:
    """Make `folder` a model repository that holds these releases alone, pinned.

    Ensembles go first and come last, so that a server which starts on a half-made folder finds none of them.

    Args:
        releases: one of each ensemble, by the store that has it.
        folder: to fill; on a failure of the store it stays as it is.
        twins: with the models in another format, which an ensemble does not use and not every server can load.

    Returns:
        False if that is what it was already.

    Raises:
        StoreError: there is no such release, an object is missing or damaged, or `folder` holds something else than
            models.
        RepositoryError: a release keeps another contract.
        PublishError: the folder's disk is full, or it cannot be written.
    """
    manifests = {store.ensemble: store.manifest(release) for store, release in releases.items()}
    if not twins:
        manifests = {ensemble: manifest.without_twins() for ensemble, manifest in manifests.items()}
    incoming = folder / _INCOMING
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _holds(folder, manifests):
            return False
        models = _models(folder)
        shutil.rmtree(incoming, ignore_errors=True)
        for store, release in releases.items():
            store.download(release, incoming, twins=twins)
            ModelRepository(incoming).verify(store.ensemble)
        for path in _ensembles_last(models, manifests)[::-1]:
            shutil.rmtree(path)
        for path in _ensembles_last(incoming.iterdir(), manifests):
            path.rename(folder / path.name)
    except OSError as error:
        names = ", ".join(f"{manifest.ensemble} {manifest.release}" for manifest in manifests.values())
        raise write_failure(error, folder, names) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return True


def _holds(folder: Path, manifests: Mapping[EnsembleSpec, Manifest]) -> bool:
    """Whether a folder is a repository of these releases and nothing else."""
    wanted = {
        model for manifest in manifests.values() for model in (*manifest.members, *manifest.twins, manifest.ensemble)
    }
    if {path.name for path in folder.iterdir()} != wanted:
        return False
    repository = ModelRepository(folder)
    try:
        return all(repository.verify(ensemble) == manifest for ensemble, manifest in manifests.items())
    except RepositoryError:
        return False


def _ensembles_last(models: Iterable[Path], ensembles: Iterable[EnsembleSpec]) -> list[Path]:
    names = {ensemble.name for ensemble in ensembles}
    return sorted(models, key=lambda path: (path.name in names, path))


def _models(folder: Path) -> list[Path]:
    """The models in a folder that may be filled anew.

    Raises:
        StoreError: it holds something else, or a server of this machine publishes there.
    """
    if (folder / LEDGER_FOLDER).exists():
        raise StoreError(
            f"{folder} is the working copy of a server with releases of its own. Name an empty folder, or fetch the"
            " release with `python -m flows.release sync --promote`."
        )
    models = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if strange := [path.name for path in models if not (path / CONFIG_NAME).exists()]:
        raise StoreError(f"{folder} holds {strange[0]}, which is no model. Name an empty folder.")
    return models
