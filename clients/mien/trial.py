"""A candidate on trial with a share of a client's calls: which calls are meant for it, and what came of them.

A canary call is answered by the candidate; a shadow call is answered as always and shown to the candidate afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Literal

import numpy as np

from mien import hooks
from mien.errors import ModelNotFoundError
from mien.results import Comparison, Miss

if TYPE_CHECKING:
    from mien.errors import InferenceError
    from mien.hooks import Hooks
    from mien.results import Predictions
    from mien.settings import ClientSettings

logger = logging.getLogger(__name__)

SHADOWS_IN_FLIGHT = 8
"""Of one client; a shadow call that finds so many on their way is dropped, so that a slow candidate costs no memory."""

REST_S = 5.0
"""How long a candidate that is not there, or failed, is asked nothing."""

Part = Literal["canary", "shadow"]


class Trial:
    """The trial of one ensemble by one client; may be used by several threads at once.

    Args:
        ensemble: the model that is called.
        candidate: the second ensemble.
        settings: of the client.
        told: the client's hooks; they are called where the candidate's answer arrives.
    """

    def __init__(self, ensemble: str, candidate: str, settings: ClientSettings, told: Hooks) -> None:
        self.candidate = candidate
        self._ensemble = ensemble
        self._settings = settings
        self._told = told
        self._slots = threading.BoundedSemaphore(SHADOWS_IN_FLIGHT)
        self._rests_until = 0.0
        self._release = ""
        self._is_over = False

    def part(self, request_id: str) -> Part | None:
        """What a call is to the candidate; a call that is made again with its id is the same again.

        The canaries are the calls with the lowest places and the shadows those with the highest, so a call that is
        meant for the candidate stays so when a share is raised.
        """
        if time.monotonic() < self._rests_until:
            return None
        place = place_of(request_id)
        if place < self._settings.canary_share:
            return "canary"
        return "shadow" if place >= 1 - self._settings.shadow_share else None

    def take_slot(self) -> bool:
        """Whether one more shadow call may be on its way; `free_slot` follows when it is over."""
        if self._slots.acquire(blocking=False):
            return True
        self._miss("dropped")
        return False

    def free_slot(self) -> None:
        """One shadow call less is on its way."""
        self._slots.release()

    def answered(self, answer: Predictions) -> None:
        """The candidate answered."""
        self._release = answer.model_versions[-1]

    def failed(self, error: InferenceError) -> None:
        """The candidate gave an error: leave it alone for a while. That it is not there is no fault of its own."""
        if self._is_over:
            return
        self._rests_until = time.monotonic() + REST_S
        if isinstance(error, ModelNotFoundError):
            logger.debug("No candidate: %s", error)
            return
        logger.warning("The candidate is asked nothing for %g s: %s", REST_S, error)
        self._miss("failed")

    def compare(self, answer: Predictions, release_s: float, shown: Predictions, candidate_s: float) -> None:
        """Report both answers to the same; one that two releases gave, in the moment of a swap, says nothing."""
        releases, candidates = set(answer.model_versions), set(shown.model_versions)
        if self._is_over or len(releases) > 1:
            return
        if len(candidates) > 1:
            self._miss("failed")
            return
        agreed = answer.probabilities.argmax(1) == shown.probabilities.argmax(1)
        comparison = Comparison(
            ensemble=self._ensemble,
            release=releases.pop(),
            candidate=candidates.pop(),
            faces=len(answer),
            agreed=int(agreed.sum()),
            largest_difference=float(np.abs(answer.probabilities - shown.probabilities).max()),
            release_s=release_s,
            candidate_s=candidate_s,
            request_id=answer.request_id,
        )
        hooks.call(self._told.on_comparison, comparison)

    def close(self) -> None:
        """Report nothing any more: what is still on its way ends with the client."""
        self._is_over = True

    def _miss(self, reason: Literal["dropped", "failed"]) -> None:
        hooks.call(self._told.on_miss, Miss(self._ensemble, reason, self._release))


def place_of(request_id: str) -> float:
    """A number in [0, 1) that depends on the id alone and is spread evenly, however alike the ids are."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48
