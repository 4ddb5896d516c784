"""A bound on how many requests do something at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mien.gateway.refusals import overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator


class Room:
    """Bounds how many do something at once; whoever finds no room is refused rather than queued.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self._free = size

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place.

        Raises:
            RequestRefusedError: there is none (503).
        """
        if not self._free:
            raise overloaded()
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
