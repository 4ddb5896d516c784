"""A pool of worker processes for an event loop."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from mien.errors import MediaError
from mien.gateway.processes import WorkerDiedError, WorkerProcess
from mien.gateway.refusals import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mien.gateway.processes import Worked

logger = logging.getLogger(__name__)


class Workers:
    """Several workers of one kind, for an event loop: a call takes the next idle one.

    Args:
        count: of processes.
        create: makes each one's object; can be pickled.
    """

    def __init__(self, count: int, create: Callable[[], Worked]) -> None:
        self._all = [WorkerProcess(create) for _ in range(count)]
        self._idle: asyncio.LifoQueue[WorkerProcess] = asyncio.LifoQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="mien-worker")

    async def __aenter__(self) -> Self:
        """Start all of them.

        Raises:
            MienError: one cannot be started.
        """
        loop = asyncio.get_running_loop()
        try:
            await asyncio.gather(*(loop.run_in_executor(self._threads, worker.start) for worker in self._all))
        except BaseException:
            self._close()
            raise
        for worker in self._all:
            self._idle.put_nowait(worker)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for worker in self._all:
            worker.close()
        self._threads.shutdown()

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [worker.pid for worker in self._all if worker.pid is not None]

    async def call(self, method: str, *arguments: object, timeout_s: float, wait_s: float) -> Any:  # noqa: ANN401
        """Call a method of an idle worker's object, once more if the worker dies of it.

        Args:
            method: its name.
            arguments: can be pickled.
            timeout_s: for the call.
            wait_s: for a worker to be idle.

        Raises:
            RequestRefusedError: no worker was idle in time.
            MediaError: what the method raised, and what two deaths or the silence of the worker mean for the file.
        """
        try:
            worker = await asyncio.wait_for(self._idle.get(), wait_s)
        except TimeoutError as error:
            raise overloaded() from error
        running = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: _call_twice(worker, method, *arguments, timeout_s=timeout_s)
        )
        # Not when the caller has gone, but when the worker is done.
        running.add_done_callback(lambda _: self._idle.put_nowait(worker))
        try:
            return await asyncio.shield(running)
        except TimeoutError as error:
            logger.warning("worker_killed", extra={"reason": "time"})
            raise MediaError(f"The file took longer than {timeout_s:g} s to decode.") from error
        except WorkerDiedError as error:
            logger.warning("worker_died", extra={"reason": str(error)})
            raise MediaError("The file cannot be decoded: it ended the decoder.") from error


def _call_twice(worker: WorkerProcess, method: str, *arguments: object, timeout_s: float) -> Any:  # noqa: ANN401
    """Call, and once more if the worker dies: others may have killed it (for want of memory), but hardly its heir."""
    try:
        return worker.call(method, *arguments, timeout_s=timeout_s)
    except WorkerDiedError as error:
        logger.warning("worker_died", extra={"reason": str(error)})
        return worker.call(method, *arguments, timeout_s=timeout_s)
