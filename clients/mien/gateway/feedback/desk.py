"""Where the gateway takes corrections in: the store, the workers that read files, and the purge that comes round."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from mien.errors import MienError
from mien.gateway.feedback.crops import CropReader
from mien.gateway.feedback.errors import FeedbackUnavailableError
from mien.gateway.feedback.examples import MEMORY_BYTES, ExampleWorker
from mien.gateway.feedback.store import FeedbackStore
from mien.gateway.feedback.utterances import UtteranceReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mien.gateway.feedback.settings import FeedbackSettings

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

THREADS = 4
"""Of the store alone, so that what waits for a silent database keeps nobody else's request waiting."""

QUEUE_S = 5.0
"""A request that has waited so long for one of them is refused."""


class FeedbackDesk:
    """What the routes of feedback work with; it lives as long as the application.

    Args:
        settings: of the store.
        is_private: whether only this machine can reach the gateway.

    Raises:
        SettingsError: the settings do not make sense.
    """

    def __init__(self, settings: FeedbackSettings, *, is_private: bool) -> None:
        self.settings = settings
        self.is_private = is_private
        self.is_open = is_private if settings.enabled is None else settings.enabled
        self.store = FeedbackStore(settings)
        self.crops = ExampleWorker(partial(CropReader, MEMORY_BYTES), "picture")
        self.utterances = ExampleWorker(partial(UtteranceReader, MEMORY_BYTES), "recording")
        self._threads = ThreadPoolExecutor(THREADS, "feedback")
        self._purging: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to purge: what was kept ends in time even where nothing more is taken."""
        self._purging = asyncio.create_task(self._purge_again_and_again())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._purging is not None:
            self._purging.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._purging
        await self.crops.close()
        await self.utterances.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.store.close)

    async def ask(
        self, act: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """What the store's method `act` returns; a thread of the store's own does it.

        Raises:
            FeedbackUnavailableError: all of them have been waiting too long for the database or the pictures.
        """
        asked_s = time.monotonic()

        def begin() -> Result:
            if time.monotonic() - asked_s > QUEUE_S:
                raise FeedbackUnavailableError(f"The feedback store has let a request wait for {QUEUE_S:g} s.")
            return act(*arguments, **options)

        context = contextvars.copy_context()  # the request id, for the log
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, begin)

    async def _purge_again_and_again(self) -> None:
        while True:
            await asyncio.to_thread(self._purge)
            await asyncio.sleep(self.settings.purge_interval_s)

    def _purge(self) -> None:
        if not self.store.is_there():
            return
        try:
            purged = self.store.purge()
        except MienError as error:
            logger.warning("feedback_not_purged", extra={"reason": str(error)})
        except Exception:
            logger.exception("feedback_not_purged")
        else:
            if any(asdict(purged).values()):
                logger.info("feedback_purged", extra=asdict(purged))
