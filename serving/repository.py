"""The model repository: reading its release pointer, verifying releases, and the working copy a server loads from.

An ensemble's config.pbtxt is the release pointer: its steps pin one version of each member and its own version policy
is the release's number. A server never loads from version control's folder but from a working copy of its own, for
publishing writes there.
"""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.contract import ENSEMBLES, VARIANTS, EnsembleSpec
from serving.configuration import CONFIG_NAME, read_config
from serving.errors import RepositoryError
from serving.foreign_code import check_configs
from serving.manifest import MANIFEST_NAME, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonclient.grpc.model_config_pb2 import ModelConfig


@dataclass(frozen=True, slots=True)
class ReleasePointer:
    """Which release an ensemble's configuration names: its number, and the version of each member."""

    release: int
    members: dict[str, int]


class ModelRepository:
    """A folder of models as Triton reads it, with one manifest for each release of an ensemble."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def config(self, model: str) -> ModelConfig:
        """The model's configuration.

        Raises:
            RepositoryError: it is missing or cannot be parsed.
        """
        return read_config(self.path / model / CONFIG_NAME)

    def pointer(self, ensemble: EnsembleSpec) -> ReleasePointer:
        """The release that the ensemble's configuration names.

        Raises:
            RepositoryError: the configuration pins no release, or leaves a member's version open.
        """
        config = self.config(ensemble.name)
        versions = list(config.version_policy.specific.versions)
        members = {step.model_name: int(step.model_version) for step in config.ensemble_scheduling.step}
        if len(versions) != 1 or any(version < 1 for version in members.values()):
            raise RepositoryError(
                f"{self.path / ensemble.name / CONFIG_NAME} names no release: its version policy is {versions} and its"
                f" steps are {members}; one version is needed in each."
            )
        return ReleasePointer(int(versions[0]), members)

    def releases(self, ensemble: EnsembleSpec) -> list[int]:
        """Numbers of all releases that have a manifest here, ascending."""
        manifests = (self.path / ensemble.name).glob(f"*/{MANIFEST_NAME}")
        return sorted(int(path.parent.name) for path in manifests if path.parent.name.isdecimal())

    def manifest(self, ensemble: EnsembleSpec, release: int) -> Manifest:
        """The manifest of a release.

        Raises:
            RepositoryError: it is missing or not a manifest.
        """
        return read_manifest(self.path / ensemble.name / str(release) / MANIFEST_NAME)

    def verify(self, ensemble: EnsembleSpec) -> Manifest:
        """Hold the release that would be served against its manifest, file by file.

        Returns:
            the manifest of the release.

        Raises:
            RepositoryError: a file is missing or damaged, or manifest, configuration and contract disagree.
        """
        pointer = self.pointer(ensemble)
        manifest = self.verify_release(ensemble, pointer.release)
        if manifest.members != pointer.members:
            raise RepositoryError(
                f"{self.path / ensemble.name / CONFIG_NAME} pins release {pointer.release} with {pointer.members}, its"
                f" manifest tells of {manifest.members}. Publish it again or roll back."
            )
        return manifest

    def verify_release(self, ensemble: EnsembleSpec, release: int) -> Manifest:
        """Hold any release that is here against its manifest, file by file.

        Returns:
            the manifest of the release.

        Raises:
            RepositoryError: there is no such release, a file is missing, damaged or unknown, manifest and contract
                disagree, or a configuration names other code than the contract.
        """
        if release not in self.releases(ensemble) and self.releases(ensemble):
            raise RepositoryError(
                f"There is no release {release} of {ensemble.name} in {self.path}; there are {self.releases(ensemble)}."
            )
        manifest = self.manifest(ensemble, release)
        if (manifest.ensemble, manifest.release) != (ensemble.name, release):
            raise RepositoryError(
                f"The manifest of release {release} of {ensemble.name} in {self.path} tells of release"
                f" {manifest.release} of {manifest.ensemble}. Publish it again or roll back."
            )
        if manifest.labels != ensemble.labels:
            raise RepositoryError(
                f"Release {release} of {ensemble.name} has the labels {list(manifest.labels)}, the contract"
                f" says {list(ensemble.labels)}. Another contract needs an ensemble of another name."
            )
        manifest.verify_files(self.path)
        for model in (*manifest.members, *manifest.twins, ensemble.name):
            if (self.path / model / CONFIG_NAME).exists():  # where releases are staged, they have none yet
                check_configs(self.path / model)
        return manifest


def models_of(ensemble: EnsembleSpec) -> list[str]:
    """Names of every model that a release of the ensemble can have, and the ensemble's own, which is the last."""
    variants = [variant for variant in VARIANTS if variant.name == ensemble.name]
    models = [model.name for variant in variants for model in (*variant.members, *variant.twins)]
    return [*dict.fromkeys(models), ensemble.name]


def install_shipped(shipped: ModelRepository, target: Path) -> ModelRepository:
    """Make or refresh the working copy at `target` from the repository that came with Mien, ensemble by ensemble.

    An ensemble with a release newer than the shipped one is left alone: it was published there. Of any other of which a
    shipped file is missing or differs, be it new, stale or damaged, all models are replaced, and what they were stays
    beside the copy in ``<target>.previous``. A new copy is complete before it gets its name; in one that is there an
    ensemble goes first and comes last, so whoever dies in between has installed none, and the next start does it.

    Raises:
        RepositoryError: the shipped repository does not verify, or the copy cannot be written.
    """
    working = ModelRepository(target)
    stale = [ensemble for ensemble in ENSEMBLES if _is_stale(working, shipped, ensemble)]
    for ensemble in stale:
        shipped.verify(ensemble)
    try:
        if stale:
            _install(shipped, stale, target)
    except OSError as error:
        raise RepositoryError(
            f"The model repository cannot be copied to {target} ({error}). Set MIEN_MODEL_REPOSITORY to a folder on a"
            " disk with room that you may write."
        ) from error
    return working


def _is_stale(working: ModelRepository, shipped: ModelRepository, ensemble: EnsembleSpec) -> bool:
    """Whether the ensemble's shipped models are to take the place of those in the working copy."""
    newest, ours = (max(repository.releases(ensemble), default=0) for repository in (shipped, working))
    return 0 < newest >= ours and not all(
        _holds(working.path / model, shipped.path / model) for model in models_of(ensemble)
    )


def _install(shipped: ModelRepository, ensembles: Sequence[EnsembleSpec], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)
    models = [
        model
        for ensemble in ensembles
        for model in models_of(ensemble)
        if (shipped.path / model / CONFIG_NAME).exists()
    ]
    try:
        staged = Path(staging) / "copy"
        for model in models:
            shutil.copytree(shipped.path / model, staged / model)
        if not target.exists():
            staged.rename(target)
            return
        previous = target.with_name(f"{target.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        previous.mkdir()
        for ensemble in ensembles:
            for model in reversed(models_of(ensemble)):
                if (target / model).exists():
                    (target / model).rename(previous / model)
        for model in models:
            (staged / model).rename(target / model)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _holds(target: Path, shipped: Path) -> bool:
    """Whether every file of `shipped` is in `target` with the same bytes."""
    names = [path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()]
    return all(
        (target / name).is_file() and filecmp.cmp(shipped / name, target / name, shallow=False) for name in names
    )
