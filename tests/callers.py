"""Callers at work while something else goes on, who hold each answer against the release that it names."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mien import InferenceError
from tests.crowd import Crowd
from tests.releases import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mien import EmotionClient
    from serving import ModelRepository

CALLERS = 8
START_S = 60.0


def faces(count: int = 3) -> NDArray[np.uint8]:
    """(count, 96, 96, 3), always the same."""
    return np.random.default_rng(1).integers(0, 256, (count, 96, 96, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Answered:
    """One call: when it began and ended, by `time.monotonic()`, and the release that answered."""

    begin_s: float
    end_s: float
    release: int


class Callers(Crowd):
    """Threads that call without a pause until the end of the block.

    Args:
        client: that all of them share.
        expected: the probabilities that each release answers for `faces()`.
        count: how many.

    Attributes:
        wrong: errors, and answers that are not wholly from the release that they name.
        answered: the calls of each caller, in order.
    """

    def __init__(self, client: EmotionClient, expected: dict[int, NDArray[np.float32]], count: int = CALLERS) -> None:
        self.wrong: list[str] = []
        self.answered: list[list[Answered]] = [[] for _ in range(count)]
        self._client = client
        self._expected = expected

    def _tasks(self) -> Sequence[Callable[[], None]]:
        return [partial(self._call, calls) for calls in self.answered]

    @property
    def releases(self) -> Counter[int]:
        """How many answers each release gave."""
        return Counter(call.release for calls in self.answered for call in calls)

    @property
    def total(self) -> int:
        """How many calls were answered."""
        return sum(len(calls) for calls in self.answered)

    def wait_for_more(self, calls: int = 50) -> None:
        """Return when so many more have been answered."""
        wanted, end = self.total + calls, time.monotonic() + START_S
        while self.total < wanted and not self.wrong and time.monotonic() < end:
            time.sleep(0.01)
        assert self.total >= wanted or self.wrong, "callers get no answers"

    def _call(self, calls: list[Answered]) -> None:
        asked = faces()
        while not self._stop.is_set():
            begin = time.monotonic()
            try:
                answer = self._client.classify(asked)
            except InferenceError as error:
                self.wrong.append(repr(error))
                continue
            end = time.monotonic()
            (release,) = {int(version) for version in answer.model_versions}
            calls.append(Answered(begin, end, release))
            if not np.allclose(answer.probabilities, self._expected[release], atol=1e-5):
                self.wrong.append(f"an answer that says release {release} is not wholly from it")


@contextmanager
def calling(client: EmotionClient, repository: ModelRepository, releases: int) -> Iterator[Callers]:
    """Callers at work inside; none may get an error or a mixed answer.

    Args:
        client: that all of them share.
        repository: with releases 1 to `releases`.
        releases: how many may answer.
    """
    expected = {number: answers(repository.path, faces(), number) for number in range(1, releases + 1)}
    with Callers(client, expected) as callers:
        yield callers
    assert not callers.wrong
    assert callers.total
