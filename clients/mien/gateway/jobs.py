"""Videos that are waiting, being analysed, or done and kept for a while; all of it in this process's memory."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from mien import fusion
from mien.errors import MediaTooLargeError, MienError
from mien.gateway.job import State, VideoJob
from mien.gateway.piecewise import PiecewiseDecoder
from mien.gateway.refusals import UNEXPECTED, RequestRefusedError, as_refused, overloaded
from mien.tracking import Tracker

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from prometheus_client import Gauge

    from mien.gateway.decoding import VideoInfo
    from mien.gateway.listening import Listener
    from mien.gateway.recognition import Recognizer
    from mien.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)


class VideoJobs:
    """Analyses videos, a few at once; whoever brings one too many is refused.

    Args:
        recognizer: gives each video a process and classifies its faces.
        listener: names the emotions of its sound, where that is asked for.
        settings: of the gateway.
        gauge: shows how many are waiting or being analysed.
    """

    def __init__(self, recognizer: Recognizer, listener: Listener, settings: GatewaySettings, gauge: Gauge) -> None:
        self._recognizer = recognizer
        self._listener = listener
        self._settings = settings
        self._gauge = gauge
        self._turn = asyncio.Semaphore(settings.videos_at_once)
        self._jobs: dict[str, VideoJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def check_room(self) -> None:
        """Look before a video is taken in.

        Raises:
            RequestRefusedError: too many are waiting (503).
        """
        if len(self._tasks) >= self._settings.max_videos:
            raise overloaded()

    def submit(
        self, path: Path, frame_rate: float, owner: str, request_id: str, *, with_audio: bool = False
    ) -> VideoJob:
        """Take a video in; see `VideoJob` for what is known of it.

        Raises:
            RequestRefusedError: too many are waiting (503).
        """
        self.check_room()
        job = VideoJob(secrets.token_urlsafe(16), owner, frame_rate, request_id, with_audio)
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(job, path))
        self._tasks[job.id] = task
        self._gauge.set(len(self._tasks))
        task.add_done_callback(lambda _: self._settle(job))
        return job

    def find(self, identifier: str, owner: str) -> VideoJob:
        """The video with that id.

        Raises:
            RequestRefusedError: there is none, or it is somebody else's (404).
        """
        job = self._jobs.get(identifier)
        if job is None or job.owner != owner:
            raise RequestRefusedError(
                HTTPStatus.NOT_FOUND, "There is no such video here; results are kept for a while."
            )
        return job

    def drop(self, job: VideoJob) -> None:
        """Stop the analysis if it goes on, and forget the result."""
        task = self._tasks.get(job.id)
        if task is not None:
            task.cancel()
        self._jobs.pop(job.id, None)

    def _settle(self, job: VideoJob) -> None:
        job.release()
        del self._tasks[job.id]
        self._gauge.set(len(self._tasks))
        if not job.is_over:  # cancelled before it began
            job.cancel()
        logger.info("video", extra={"job": job.id, "state": job.state, "frames": len(job.frames)})
        over = [other.id for other in self._jobs.values() if other.is_over]
        for identifier in over[: -self._settings.max_results]:
            del self._jobs[identifier]
        asyncio.get_running_loop().call_later(self._settings.result_lifetime_s, self._jobs.pop, job.id, None)

    async def _run(self, job: VideoJob, path: Path) -> None:
        try:
            async with self._turn:
                job.state = State.RUNNING
                job.tell()
                await self._analyse(job, path)
            job.state = State.DONE
        except asyncio.CancelledError:
            job.cancel()
            raise
        except MienError as error:
            job.refusal, job.state = as_refused(error), State.FAILED
            if job.refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("video_failed", extra={"reason": str(error)})
        except Exception:
            logger.exception("video_failed")
            job.refusal = RequestRefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
            job.state = State.FAILED
        finally:
            job.tell()

    async def _analyse(self, job: VideoJob, path: Path) -> None:
        worker = self._recognizer.video_worker()
        decoder = PiecewiseDecoder(worker, "video", self._settings.video_timeout_s)
        try:
            info: VideoInfo = await decoder.call("open_video", path, job.frame_rate)
            job.duration_s = info.duration_s
            self._check_length(info.duration_s or 0.0, (info.duration_s or 0.0) * info.fps)
            if job.with_audio:
                job.heard = await self._listener.hear_video(path, job.request_id)
            timeline = fusion.Timeline(job.heard.windows if job.heard else ())
            tracker = Tracker(max_gap_s=max(1.0, 3 / info.fps))
            async with aclosing(decoder.batches("next_frames")) as batches:
                async for batch in batches:
                    recognitions = await self._recognizer.classify([frame.picture for frame in batch], job.request_id)
                    for frame, recognition in zip(batch, recognitions, strict=True):
                        job.note(tracker, frame, recognition)
                        job.moments += timeline.add(frame.time_s, recognition.faces)
                    self._check_length(batch[-1].time_s, len(job.frames))
                    job.tell()
            job.moments += timeline.finish()
        finally:
            await asyncio.shield(asyncio.to_thread(worker.close))

    def _check_length(self, duration_s: float, frames: float) -> None:
        settings = self._settings
        if duration_s > settings.max_video_duration_s:
            raise MediaTooLargeError(f"The video is longer than the limit of {settings.max_video_duration_s:g} s.")
        if frames > settings.max_video_frames:
            raise MediaTooLargeError(
                f"At this frame_rate more than {settings.max_video_frames} frames would be analysed; lower it."
            )
