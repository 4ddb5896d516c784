"""A worker process of its own for strangers' files: each becomes what is kept of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mien.errors import MediaError
from mien.gateway.processes import WorkerDiedError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.gateway.processes import Worked

MEMORY_BYTES = 512 * 2**20
TIMEOUT_S = 10.0


class ExampleWorker:
    """A process that reads one file after the other; it starts with the first.

    Args:
        create: makes what reads them, in the process; it has a method `read`.
        noun: what the files are, for their senders.
    """

    def __init__(self, create: Callable[[], Worked], noun: str) -> None:
        self._process = WorkerProcess(create)
        self._noun = noun

    async def read(self, given: bytes | Path) -> bytes:
        """What is kept of a file, made anew.

        Raises:
            MediaError: it cannot be used.
        """
        try:
            kept: bytes = await asyncio.to_thread(self._process.call, "read", given, timeout_s=TIMEOUT_S)
        except (TimeoutError, WorkerDiedError) as error:
            raise MediaError(f"The {self._noun} cannot be decoded.") from error
        return kept

    async def close(self) -> None:
        """End the process."""
        await asyncio.to_thread(self._process.close)
