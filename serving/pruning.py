"""Removing old releases from a repository."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from serving.ledger import Ledger
from serving.manifest import MANIFEST_NAME
from serving.promotion import candidate_release

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec
    from serving.repository import ModelRepository

FLOOR = 2
"""Releases that always stay: the one served and the one to go back to."""


def prune(repository: ModelRepository, ensemble: EnsembleSpec, *, keep: int) -> list[int]:
    """Remove all but the newest releases.

    The release that is served, the one before it, a candidate, and what an unfinished change is about stay, whatever
    their age.

    Args:
        repository: where they are.
        ensemble: whose releases.
        keep: how many of the newest stay; at least `FLOOR` do.

    Returns:
        the numbers of those removed.
    """
    ledger = Ledger(repository.path)
    with ledger.lock():
        serving = repository.pointer(ensemble).release
        used = {serving, ledger.predecessor(ensemble.name, serving), candidate_release(repository, ensemble)}
        if unfinished := ledger.unfinished(ensemble.name):  # whoever takes that back needs both
            used |= {unfinished.release, unfinished.previous}
        old = repository.releases(ensemble)[: -max(keep, FLOOR)]
        removed = [release for release in old if release not in used]
        for release in removed:
            _remove(repository, ensemble, release)
    return removed


def _remove(repository: ModelRepository, ensemble: EnsembleSpec, release: int) -> None:
    manifest = repository.manifest(ensemble, release)
    # Without its manifest it is no release any more; what an interruption leaves then is nobody's.
    (repository.path / ensemble.name / str(release) / MANIFEST_NAME).unlink()
    for model, version in {**manifest.members, **manifest.twins, ensemble.name: release}.items():
        shutil.rmtree(repository.path / model / str(version), ignore_errors=True)
