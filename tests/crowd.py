"""Threads that go on until the end of a block."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


class Crowd(ABC):
    """What callers of every kind have in common: they begin with the block and are told to stop at its end."""

    _stop: threading.Event
    """Set when they are to stop."""

    @abstractmethod
    def _tasks(self) -> Sequence[Callable[[], None]]:
        """What each thread does until `_stop` is set."""

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=task) for task in self._tasks()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
