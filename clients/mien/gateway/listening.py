"""A recording's way: a process of its own decodes it, the model server names the emotions of its windows."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from mien import windows
from mien.errors import MediaTooLargeError
from mien.gateway import tracing
from mien.gateway.decoding import WorkerLimits
from mien.gateway.hearing import Hearer
from mien.gateway.piecewise import PiecewiseDecoder
from mien.gateway.processes import WorkerProcess
from mien.results import SpeechRecognition

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import Gauge

    from mien.client import AsyncEmotionClient
    from mien.gateway.settings import GatewaySettings
    from mien.results import SpeechWindow


class Listener:
    """Recognizes recordings, a few at once.

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
        async with self._turn:
            with self._gauge.track_inprogress():
                limits = WorkerLimits(self._settings.worker_memory_bytes, 0, self._settings.recording_niceness)
                worker = WorkerProcess(partial(Hearer, limits))
                try:
                    return await self._analyse(worker, path, request_id)
                finally:
                    await asyncio.shield(asyncio.to_thread(worker.close))

    async def _analyse(self, worker: WorkerProcess, path: Path, request_id: str) -> SpeechRecognition:
        decoder = PiecewiseDecoder(worker, "recording", self._settings.recording_timeout_s)
        self._check_length(await decoder.call("open_recording", path) or 0.0)
        found: list[SpeechWindow] = []
        infer_s = 0.0
        async with aclosing(decoder.batches("next_windows")) as batches:
            async for batch in batches:
                self._check_length(batch[-1].end_s)
                sound = windows.stacked(batch)
                started = time.perf_counter()
                with tracing.part_span("infer") as span:
                    span.set_attribute("mien.windows", len(sound))
                    answer = await self._client.classify_speech(sound, request_id=request_id)
                infer_s += time.perf_counter() - started
                found.extend(windows.answered(batch, answer))
        return SpeechRecognition(found[-1].end_s, tuple(found), request_id, infer_s)

    def _check_length(self, duration_s: float) -> None:
        limit_s = self._settings.max_recording_duration_s
        if duration_s > limit_s:
            raise MediaTooLargeError(f"The recording is longer than the limit of {limit_s:g} s.")
