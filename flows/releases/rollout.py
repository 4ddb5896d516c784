"""Serving another release on Kubernetes: the same steps as `serving.promotion`, with new pods instead of a swap.

New pods fetch the release and are ready only after they have answered its golden inputs (`serving.probe`); an old one
goes when a new one is ready. Then the golden inputs are asked for once more, as any caller asks. Whatever fails, the
release that served is rolled out again. What is served is noted where it always is: the repository's release pointer,
its history, and the store's `current`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from flows.errors import FlowError
from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from mien.errors import MienError
from serving import Entry, Ledger, Promotion, PromotionError
from serving.golden import read_golden
from serving.promotion import point, variant_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flows.releases.workload import Workload
    from mien.contract import EnsembleSpec
    from mien.results import Predictions
    from serving import Manifest, ModelRepository
    from serving.ledger import Action
    from serving.store import ReleaseStore

logger = logging.getLogger(__name__)

_CALLS = 10
_SETTLING_S = 120.0
_PAUSE_S = 1.0


class Rollout:
    """Changes what a Deployment serves of one ensemble.

    Args:
        repository: where releases are published to; its pointer follows what is served.
        ensemble: whose release changes.
        store: where pods fetch releases from.
        workload: the Deployment.
    """

    def __init__(
        self, repository: ModelRepository, ensemble: EnsembleSpec, store: ReleaseStore, workload: Workload
    ) -> None:
        self._repository = repository
        self._ensemble = ensemble
        self._store = store
        self._workload = workload
        self._ledger = Ledger(repository.path)

    def promote(self, release: int, *, reason: str = "") -> Promotion:
        """Serve `release` from now on; see `serving.Promoter.promote`."""
        with self._ledger.lock():
            return self._move("promote", release, self._serving(), reason)

    def rollback(self, *, to: int | None = None, reason: str = "") -> Promotion:
        """Serve the release that was served before the present one, or the one named."""
        with self._ledger.lock():
            serving = self._serving()
            release = to or self._ledger.predecessor(self._ensemble.name, serving)
            if release is None:
                raise PromotionError(
                    f"No release of {self._ensemble.name} was served before {serving}. Name one: there are"
                    f" {self._store.releases()}."
                )
            return self._move("rollback", release, serving, reason)

    def offer(self, release: int) -> NoReturn:
        """A server in a cluster serves one release."""
        raise FlowError(
            f"On Kubernetes release {release} cannot be served beside the present one by the same server. The overlay"
            " k8s/overlays/kserve gives a share of the traffic to a canary."
        )

    def withdraw(self) -> NoReturn:
        """See `offer`."""
        raise FlowError("On Kubernetes there is no candidate; the canary of k8s/overlays/kserve is changed there.")

    def _move(self, action: Action, release: int, serving: int, reason: str) -> Promotion:
        if serving == release:
            raise PromotionError(f"Release {release} of {self._ensemble.name} is what is served already.")
        manifest = self._share(release)
        entry = Entry(action=action, ensemble=self._ensemble.name, release=release, previous=serving, reason=reason)
        self._ledger.begin(entry)
        begin = time.perf_counter()
        try:
            self._workload.set_release(str(release), f"{action} {release}{reason and f': {reason}'}")
            self._workload.wait()
            self._check_golden(manifest)
            self._make_current(release)
        except BaseException as error:
            self._return_to(entry)
            if isinstance(error, MienError):
                raise PromotionError(
                    f"Release {release} was not promoted, {serving} is still served: {error}"
                ) from error
            raise
        self._point(manifest)
        self._ledger.finish(entry)
        logger.info("ensemble=%s release=%d previous=%d", self._ensemble.name, release, serving)
        return Promotion(entry, time.perf_counter() - begin)

    def _serving(self) -> int:
        """What the pods serve, after taking back what somebody began and did not live to finish."""
        entry = self._ledger.unfinished(self._ensemble.name)
        if entry is not None:
            logger.warning("taking back an unfinished rollout: action=%s release=%d", entry.action, entry.release)
            self._return_to(entry)
        wanted = self._workload.release()
        serving = self._store.resolve("current" if wanted == "current" else int(wanted))
        if self._repository.pointer(self._ensemble).release != serving:
            self._point(self._share(serving))  # somebody else rolled it out
        return serving

    def _return_to(self, entry: Entry) -> None:
        """Roll out again what served before the change."""
        release = entry.previous
        try:
            if self._workload.release() != str(release):
                self._workload.set_release(str(release), f"back to {release}")
            self._workload.wait()
            self._make_current(release)
        except MienError as error:
            logger.warning("release=%d is asked for again, but did not come: %s", release, error)
            return  # the next command tries again
        self._ledger.abandon(entry)

    def _share(self, release: int) -> Manifest:
        """Have the release in the store, for the pods, and here, for its golden inputs."""
        if release in self._repository.releases(self._ensemble):
            self._store.push(self._repository, release)
        else:
            self._store.pull(release, self._repository)
        return self._repository.verify_release(self._ensemble, release)

    def _check_golden(self, manifest: Manifest) -> None:
        """Ask for the golden inputs until ten answers in a row are the new release's: old pods drain meanwhile."""
        golden, end, right = (
            read_golden(self._repository, self._ensemble, manifest.release),
            time.monotonic() + _SETTLING_S,
            0,
        )
        with EmotionClient(ClientSettings()) as client:
            while right < _CALLS:
                answer = _ask(client, self._ensemble, golden.inputs)
                others = set(answer.model_versions) - {str(manifest.release)}
                if not others:
                    golden.check(answer.probabilities)
                    right += 1
                    continue
                if time.monotonic() > end:
                    raise PromotionError(f"After {_SETTLING_S:g} s release {min(others)} still answers.")
                right = 0
                time.sleep(_PAUSE_S)

    def _make_current(self, release: int) -> None:
        current = self._store.current()
        if current is None or current.release != release:
            self._store.set_current(release, expected=current.release if current else None)

    def _point(self, manifest: Manifest) -> None:
        point(self._repository, variant_of(self._ensemble, manifest), manifest)


def _ask(client: EmotionClient, ensemble: EnsembleSpec, inputs: NDArray[Any]) -> Predictions:
    """As callers of that ensemble ask."""
    tensors = np.asarray(inputs, ensemble.input.dtype)
    return client.classify(tensors) if ensemble.name == EMOTION.name else client.classify_speech(tensors)
