"""A file that a process of its own decodes piece by piece: while one piece is classified the next is decoded."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mien.errors import MediaError, MediaTooLargeError
from mien.gateway.processes import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mien.gateway.processes import WorkerProcess


class PiecewiseDecoder:
    """Calls the methods of a worker's object, all of them together in a limited time.

    Args:
        worker: not started yet; whoever made it ends it.
        noun: what the file is, for the caller.
        timeout_s: for the whole file.
    """

    def __init__(self, worker: WorkerProcess, noun: str, timeout_s: float) -> None:
        self._worker = worker
        self._noun = noun
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    async def call(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 (what the method returns)
        """Call a method.

        Raises:
            MediaTooLargeError: the time is over.
            MediaError: what the method raised, and what the death of the worker means for the file.
        """
        left_s = max(0.0, self._end - time.monotonic())
        try:
            return await asyncio.to_thread(self._worker.call, method, *arguments, timeout_s=left_s)
        except TimeoutError as error:
            raise MediaTooLargeError(f"The {self._noun} took longer than {self._timeout_s:g} s to analyse.") from error
        except WorkerDiedError as error:
            raise MediaError(f"The {self._noun} cannot be decoded: it ended the decoder.") from error

    async def batches(self, method: str) -> AsyncGenerator[list[Any], None]:
        """What calls of a method return, until that is empty."""
        pending = asyncio.create_task(self.call(method))
        try:
            while batch := await pending:
                pending = asyncio.create_task(self.call(method))
                yield batch
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
