"""A bound on how many requests do something at once."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from mien.gateway.refusals import overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SLOW_BYTES_PER_S = 64 * 2**10
GRACE_S = 2.0
"""For a body's first bytes, before its speed tells anything."""


class Place:
    """One request's place in a room; while its body comes slowly, another may take it.

    Attributes:
        is_lost: whether another has.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._arrival: asyncio.Timeout | None = None
        self._since_s = 0.0
        self._bytes = 0

    @asynccontextmanager
    async def arrival(self, timeout_s: float) -> AsyncIterator[None]:
        """Inside, the request's body is read.

        Raises:
            TimeoutError: after so many seconds, or when the place is lost.
        """
        self._since_s = time.monotonic()
        self._arrival = asyncio.timeout(timeout_s)
        try:
            async with self._arrival:
                yield
        finally:
            self._arrival = None

    def count(self, size: int) -> None:
        """Note that so many bytes of the body have come."""
        self._bytes += size

    @property
    def speed(self) -> float:
        """Bytes of the body a second; infinite if it is complete, or not begun long ago."""
        seconds = time.monotonic() - self._since_s
        return math.inf if self._arrival is None or seconds < GRACE_S else self._bytes / seconds

    def lose(self) -> None:
        """End the arrival."""
        self.is_lost = True
        if self._arrival is not None:
            self._arrival.reschedule(asyncio.get_running_loop().time())


class Room:
    """Bounds how many do something at once; whoever finds no room is refused rather than queued.

    Bodies that come slower than `SLOW_BYTES_PER_S` keep nobody out: the slowest of them gives way.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._places: set[Place] = set()

    @contextmanager
    def taken(self) -> Iterator[Place]:
        """Take a place.

        Raises:
            RequestRefusedError: there is none (503).
        """
        if len(self._places) == self._size:
            self._free_one()
        place = Place()
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    def _free_one(self) -> None:
        slowest = min(self._places, key=lambda place: place.speed)
        if slowest.speed >= SLOW_BYTES_PER_S:
            raise overloaded()
        self._places.remove(slowest)
        slowest.lose()
