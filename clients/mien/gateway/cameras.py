"""A bound on how many cameras are open."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from mien.gateway.refusals import RequestRefusedError
from mien.gateway.room import Room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.gateway.settings import GatewaySettings


class Cameras:
    """Bounds how many cameras are open: in all, and of one caller.

    Args:
        settings: of the gateway.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._room = Room(settings.max_cameras)
        self._per_caller = settings.max_cameras_per_caller
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, who: str) -> Iterator[None]:
        """Open one.

        Raises:
            RequestRefusedError: the caller has too many open (429), or there are too many in all (503).
        """
        if self._open[who] >= self._per_caller:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, f"More than {self._per_caller} cameras at once; close another one first."
            )
        with self._room.taken():
            self._open[who] += 1
            try:
                yield
            finally:
                self._open[who] -= 1
                self._open += Counter()  # forgets those that have none
