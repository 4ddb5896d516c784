"""Serving another release: members first, then proof that they are right, then one swap of the release pointer.

A server that runs keeps answering through all of it. The members of the new release are loaded beside those that serve;
their answers to the golden inputs of the release's export must be what training computed; only then the ensemble's
configuration is pinned to them and loaded, which moves preprocessing and classifier together between two requests. Any
failure, and also the death of whoever promotes, leaves or brings back the release that served.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.contract import VARIANTS
from serving.configuration import CONFIG_NAME, change_configs, pin, serve_versions, write_durably
from serving.errors import ControlError, PromotionError, ServingError
from serving.golden import read_golden
from serving.ledger import Entry, Ledger
from serving.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from serving.control import ServerControl
    from serving.ledger import Action
    from serving.manifest import Manifest
    from serving.repository import ModelRepository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A release that is served now.

    Attributes:
        entry: what was done.
        swap_s: how long the swap itself took, or on Kubernetes the rollout; requests went on meanwhile.
    """

    entry: Entry
    swap_s: float


class Promoter:
    """Changes what a running server serves of one ensemble.

    Args:
        repository: the folder that the server loads from.
        ensemble: whose release changes.
        control: calls to that server, with its admin key.
    """

    def __init__(self, repository: ModelRepository, ensemble: EnsembleSpec, control: ServerControl) -> None:
        self._repository = repository
        self._ensemble = ensemble
        self._control = control
        self._ledger = Ledger(repository.path)

    def promote(self, release: int, *, reason: str = "") -> Promotion:
        """Serve `release` from now on.

        Raises:
            RepositoryError: there is no such release, or it is damaged.
            PromotionError: it cannot be loaded, does not answer as it should, or is served already.
        """
        with self._ledger.lock():
            recover(self._repository, self._ensemble, self._control)
            return self._move("promote", release, reason)

    def rollback(self, *, to: int | None = None, reason: str = "") -> Promotion:
        """Serve the release that was served before the present one, or the one named.

        Raises:
            PromotionError: nothing was served before, or what was cannot be served any more.
            RepositoryError: that release is damaged.
        """
        with self._ledger.lock():
            recover(self._repository, self._ensemble, self._control)
            serving = self._repository.pointer(self._ensemble).release
            release = to or self._ledger.predecessor(self._ensemble.name, serving)
            if release is None:
                raise PromotionError(
                    f"No release of {self._ensemble.name} was served before {serving}. Name one: there are"
                    f" {self._repository.releases(self._ensemble)}."
                )
            return self._move("rollback", release, reason)

    def offer(self, release: int) -> str:
        """Serve `release` as a second ensemble beside the one that everybody calls.

        Returns:
            the second ensemble's name.

        Raises:
            RepositoryError: there is no such release, or it is damaged.
            PromotionError: it cannot be loaded or does not answer as it should; no candidate is served then.
        """
        with self._ledger.lock():
            recover(self._repository, self._ensemble, self._control)
            manifest = self._repository.verify_release(self._ensemble, release)
            candidate = self._variant(manifest).candidate
            try:
                self._load_members([self._serving(), manifest, *self._candidates()])
                self._check_golden(manifest)
                self._write_candidate(candidate, manifest)
                self._control.load(candidate.name)
                self._check_golden(manifest, through=candidate)
            except ServingError as error:
                with contextlib.suppress(ServingError):  # a server that is down loads neither when it starts again
                    self._remove_candidate(candidate)
                    self._load_members([self._serving()])
                raise PromotionError(
                    f"Release {release} cannot be a candidate: {error} Nothing else was changed."
                ) from error
            return candidate.name

    def withdraw(self) -> None:
        """Stop serving the candidate, if there is one."""
        with self._ledger.lock():
            self._remove_candidate(self._ensemble.candidate)

    def _move(self, action: Action, release: int, reason: str) -> Promotion:
        serving = self._serving()
        if serving.release == release:
            raise PromotionError(f"Release {release} of {self._ensemble.name} is what is served already.")
        manifest = self._repository.verify_release(self._ensemble, release)
        entry = Entry(
            action=action, ensemble=self._ensemble.name, release=release, previous=serving.release, reason=reason
        )
        self._ledger.begin(entry)
        try:
            self._load_members([serving, manifest, *self._candidates()])
            self._check_golden(manifest)
            swap_s = self._swap(manifest)
        except BaseException as error:
            if self._return_to(serving):
                self._ledger.abandon(entry)
            if isinstance(error, ServingError):
                raise PromotionError(
                    f"Release {release} was not promoted, {serving.release} is still served: {error}"
                ) from error
            raise
        self._ledger.finish(entry)
        logger.info("ensemble=%s release=%d previous=%d", self._ensemble.name, release, serving.release)
        return Promotion(entry, swap_s)

    def _swap(self, manifest: Manifest) -> float:
        """The one moment in which what is served changes."""
        point(self._repository, self._variant(manifest), manifest)
        begin = time.perf_counter()
        self._control.load(self._ensemble.name)
        swap_s = time.perf_counter() - begin
        self._check_golden(manifest, through=self._ensemble)
        return swap_s

    def _return_to(self, manifest: Manifest) -> bool:
        """Bring back what served; False if the server could not be told: its next start or the next command does it."""
        point(self._repository, self._variant(manifest), manifest)
        try:
            self._control.load(self._ensemble.name)
            self._load_members([manifest, *self._candidates()])
        except ServingError as error:
            logger.warning("release=%d is pinned again, the server did not load it: %s", manifest.release, error)
            return False
        return True

    def _load_members(self, releases: Iterable[Manifest]) -> None:
        """Have the members of all these releases ready, and no others; twins are loaded when somebody asks."""
        members: dict[str, set[int]] = {}
        twins: dict[str, set[int]] = {}
        for release in releases:
            for model, version in release.members.items():
                members.setdefault(model, set()).add(version)
            for model, version in release.twins.items():
                twins.setdefault(model, set()).add(version)
        for model, versions in (members | twins).items():
            serve_versions(self._repository.path / model, versions)
        for model, versions in members.items():
            self._control.load(model)
            missing = sorted(version for version in versions if not self._control.is_ready(model, version))
            if missing:
                raise ControlError(f"Version {missing[0]} of {model} is not ready after its load.")

    def _check_golden(self, manifest: Manifest, through: EnsembleSpec | None = None) -> None:
        """Hold the answers to the release's golden inputs against what training computed.

        Args:
            manifest: of the release.
            through: the ensemble that must answer with that release; by default its members, one after the other.
        """
        golden = read_golden(self._repository, self._ensemble, manifest.release)
        answered: NDArray[np.generic] = golden.inputs
        if through is None:
            for member in self._variant(manifest).members:
                answered, _ = self._control.infer(member, answered, version=manifest.members[member.name])
        else:
            answered, version = self._control.infer(through, answered)
            if version != manifest.release:
                raise PromotionError(f"{through.name} answers with release {version}, not {manifest.release}.")
        golden.check(np.asarray(answered, np.float32))

    def _serving(self) -> Manifest:
        return self._repository.manifest(self._ensemble, self._repository.pointer(self._ensemble).release)

    def _candidates(self) -> list[Manifest]:
        release = candidate_release(self._repository, self._ensemble)
        return [] if release is None else [self._repository.manifest(self._ensemble, release)]

    def _variant(self, manifest: Manifest) -> EnsembleSpec:
        return variant_of(self._ensemble, manifest)

    def _write_candidate(self, candidate: EnsembleSpec, manifest: Manifest) -> None:
        original, folder = self._repository.path / self._ensemble.name, self._repository.path / candidate.name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / str(manifest.release)).mkdir(parents=True)
        for name in ("labels.txt", CONFIG_NAME):
            write_durably(folder / name, (original / name).read_bytes())
        change_configs(folder, lambda config: pin(config, candidate, manifest.release, manifest.members))
        # Triton wants a file in a version's folder where the repository comes from an object store.
        manifest_path = original / str(manifest.release) / MANIFEST_NAME
        write_durably(folder / str(manifest.release) / MANIFEST_NAME, manifest_path.read_bytes())

    def _remove_candidate(self, candidate: EnsembleSpec) -> None:
        folder = self._repository.path / candidate.name
        if folder.exists():
            try:
                self._control.unload(candidate.name)
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def recover(repository: ModelRepository, ensemble: EnsembleSpec, control: ServerControl | None) -> None:
    """Take back what somebody began and did not live to finish; the lock must be held.

    Args:
        repository: where the release pointer is.
        ensemble: whose it is.
        control: the running server; None if none runs.
    """
    ledger = Ledger(repository.path)
    entry = ledger.unfinished(ensemble.name)
    if entry is None:
        return
    logger.warning("taking back an unfinished change: action=%s release=%d", entry.action, entry.release)
    manifest = repository.manifest(ensemble, entry.previous)
    point(repository, variant_of(ensemble, manifest), manifest)
    if control is not None:
        control.load(ensemble.name)
    ledger.abandon(entry)


def prepare_start(repository: ModelRepository, ensemble: EnsembleSpec) -> Manifest:
    """Have a server that starts on `repository` load the release that is pinned, verified, and nothing beside it.

    A damaged version beside it would keep the whole server from starting. So the release before is loaded when somebody
    goes back to it, and a candidate's trial ends with its server.

    Returns:
        the manifest of the release.

    Raises:
        RepositoryError: the release does not verify, or the repository cannot be written.
    """
    with Ledger(repository.path).lock():
        recover(repository, ensemble, None)
        manifest = repository.verify(ensemble)
        for model, version in manifest.members.items():
            serve_versions(repository.path / model, [version])
        shutil.rmtree(repository.path / ensemble.candidate.name, ignore_errors=True)
    return manifest


def variant_of(ensemble: EnsembleSpec, manifest: Manifest) -> EnsembleSpec:
    """The ensemble with the members that a release has.

    Raises:
        PromotionError: this version of Mien knows no such members.
    """
    for variant in VARIANTS:
        if variant.name == ensemble.name and {member.name for member in variant.members} == manifest.members.keys():
            return variant
    raise PromotionError(
        f"Release {manifest.release} of {ensemble.name} has the members {sorted(manifest.members)}, which this"
        " version of Mien does not know."
    )


def candidate_release(repository: ModelRepository, ensemble: EnsembleSpec) -> int | None:
    """The release on trial; None if there is none."""
    candidate = ensemble.candidate
    if not (repository.path / candidate.name / CONFIG_NAME).exists():
        return None
    return repository.pointer(candidate).release


def point(repository: ModelRepository, variant: EnsembleSpec, manifest: Manifest) -> None:
    """Pin the ensemble to a release, on the disk."""
    folder = repository.path / variant.name
    change_configs(folder, lambda config: pin(config, variant, manifest.release, manifest.members))
