"""The way of sound: a process of its own decodes it, the model server names the emotions of its windows."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from mien import windows
from mien.errors import MediaTooLargeError, MienError
from mien.gateway import tracing
from mien.gateway.decoding import WorkerLimits
from mien.gateway.hearing import Hearer
from mien.gateway.piecewise import PiecewiseDecoder
from mien.gateway.processes import WorkerProcess
from mien.gateway.refusals import as_refused
from mien.results import SpeechRecognition

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import Gauge

    from mien.async_client import AsyncEmotionClient
    from mien.gateway.settings import GatewaySettings
    from mien.results import SpeechWindow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeardVideo:
    """The speech of a video.

    Attributes:
        windows: in order; those before the problem if there is one.
        problem: why there is none, or no more, as a sentence for the caller.
    """

    windows: tuple[SpeechWindow, ...]
    problem: str | None = None


class Listener:
    """Recognizes the speech of recordings and videos, a few at once.

    Args:
        client: asks the model server.
        settings: of the gateway.
        gauge: shows how many are being analysed.
    """

    def __init__(self, client: AsyncEmotionClient, settings: GatewaySettings, gauge: Gauge) -> None:
        self._client = client
        self._settings = settings
        self._gauge = gauge
        self._turn = asyncio.Semaphore(settings.recordings_at_once)

    async def recognize(self, path: Path, request_id: str) -> SpeechRecognition:
        """The emotions over a recording.

        Raises:
            MediaTooLargeError: it is longer than the limit, or takes too long.
            MediaError: it cannot be used.
            InferenceError: the model server cannot answer.
        """
        found: list[SpeechWindow] = []
        hearing = _Hearing("open_recording", "recording", self._settings.max_recording_duration_s, found)
        infer_s = await self._hear(hearing, path, request_id)
        return SpeechRecognition(found[-1].end_s, tuple(found), request_id, infer_s)

    async def hear_video(self, path: Path, request_id: str) -> HeardVideo:
        """The emotions over the sound of a video; that there is none, for whatever reason, is no error."""
        found: list[SpeechWindow] = []
        hearing = _Hearing("open_sound_track", "sound of the video", self._settings.max_video_duration_s, found)
        try:
            await self._hear(hearing, path, request_id)
        except MienError as error:
            refusal = as_refused(error)
            if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("video_not_heard", extra={"reason": str(error)})
            return HeardVideo(tuple(found), str(refusal))
        return HeardVideo(tuple(found))

    async def _hear(self, hearing: _Hearing, path: Path, request_id: str) -> float:
        """Add the windows of a file to those of `hearing` as they come; the seconds that the model server took."""
        async with self._turn:
            with self._gauge.track_inprogress():
                limits = WorkerLimits(self._settings.worker_memory_bytes, 0, self._settings.recording_niceness)
                worker = WorkerProcess(partial(Hearer, limits))
                try:
                    return await self._analyse(worker, hearing, path, request_id)
                finally:
                    await asyncio.shield(asyncio.to_thread(worker.close))

    async def _analyse(self, worker: WorkerProcess, hearing: _Hearing, path: Path, request_id: str) -> float:
        decoder = PiecewiseDecoder(worker, hearing.noun, self._settings.recording_timeout_s)
        hearing.check_length(await decoder.call(hearing.opening, path) or 0.0)
        infer_s = 0.0
        async with aclosing(decoder.batches("next_windows")) as batches:
            async for batch in batches:
                hearing.check_length(batch[-1].end_s)
                sound = windows.stacked(batch)
                started = time.perf_counter()
                with tracing.part_span("infer") as span:
                    span.set_attribute("mien.windows", len(sound))
                    answer = await self._client.classify_speech(sound, request_id=request_id)
                infer_s += time.perf_counter() - started
                hearing.found.extend(windows.answered(batch, answer))
        return infer_s


@dataclass(frozen=True, slots=True)
class _Hearing:
    """One file that is listened to.

    Attributes:
        opening: the method of `Hearer` that opens it.
        noun: what it is, for the caller.
        limit_s: its longest duration.
        found: its windows so far.
    """

    opening: str
    noun: str
    limit_s: float
    found: list[SpeechWindow]

    def check_length(self, duration_s: float) -> None:
        if duration_s > self.limit_s:
            raise MediaTooLargeError(f"The {self.noun} is longer than the limit of {self.limit_s:g} s.")
