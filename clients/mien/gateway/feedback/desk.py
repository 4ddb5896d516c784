"""Where the gateway takes corrections in: the store, the worker that reads pictures, and the purge that comes round."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from mien.errors import MienError
from mien.gateway.feedback.crops import CropWorker
from mien.gateway.feedback.store import FeedbackStore

if TYPE_CHECKING:
    from types import TracebackType

    from mien.gateway.feedback.settings import FeedbackSettings

logger = logging.getLogger(__name__)


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
        self.crops = CropWorker()
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
        await asyncio.to_thread(self.store.close)

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
