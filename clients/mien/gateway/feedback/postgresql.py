"""Connections to PostgreSQL that give up a server which says nothing; psycopg itself waits for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator

Result = TypeVar("Result")

SILENCE_S = 5.0
"""Every statement of the store takes milliseconds. A machine that has vanished, or is frozen, closes no connection."""


class ImpatientConnection(psycopg.Connection[Any]):
    """Closed, with an OperationalError, once the server has been silent for `SILENCE_S` while something waits."""

    def wait(self, gen: Generator[Any, Any, Result], *arguments: Any, **options: Any) -> Result:  # noqa: ANN401
        """Carry on what psycopg waits for."""
        try:
            return super().wait(_while_heard_of(gen), *arguments, **options)
        except _SilentError:
            self.close()
            raise psycopg.OperationalError(f"the server has said nothing for {SILENCE_S:g} s") from None


class _SilentError(Exception):
    pass


def _while_heard_of(steps: Generator[Any, Any, Result]) -> Generator[Any, Any, Result]:
    """`steps`, which psycopg goes on with when there is something for them, and with nothing ten times a second."""
    heard_s = time.monotonic()
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > SILENCE_S:
                raise _SilentError
            wanted = steps.send(ready)
    except StopIteration as end:
        result: Result = end.value
        return result
