"""Videos that are waiting, being analysed, or done and kept for a while; all of it in this process's memory."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from mien import fusion, records
from mien.errors import MediaTooLargeError, MienError
from mien.gateway.boxes import clipped
from mien.gateway.piecewise import PiecewiseDecoder
from mien.gateway.refusals import UNEXPECTED, RequestRefusedError, as_refused, overloaded
from mien.gateway.schemas import (
    FrameAnswer,
    FrameFaceAnswer,
    MomentAnswer,
    ProgressAnswer,
    SoundAnswer,
    SpeechWindowAnswer,
    SummaryAnswer,
    VideoAnswer,
)
from mien.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from prometheus_client import Gauge

    from mien.fusion import Moment
    from mien.gateway.decoding import LocatedFrame, VideoInfo
    from mien.gateway.listening import HeardVideo, Listener
    from mien.gateway.recognition import Recognizer
    from mien.gateway.settings import GatewaySettings
    from mien.results import Recognition

logger = logging.getLogger(__name__)


class State(StrEnum):
    """Of a video."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(eq=False, slots=True)
class VideoJob:
    """One video.

    Attributes:
        id: cannot be guessed.
        owner: the caller it belongs to.
        frame_rate: frames to analyse a second.
        request_id: of the request that brought it.
        with_audio: whether its sound is listened to.
        state: of it.
        duration_s: as the video says itself; None if it does not, or is not open yet.
        frames: analysed so far, each as the JSON of its `FrameAnswer`: objects would take seven times as much.
        time_s: of the last of them, in the video.
        emotions: of all faces so far.
        people: tracks so far.
        versions: releases that answered so far.
        heard: its speech; None if it is not listened to, or not yet.
        moments: faces and speech together so far.
        refusal: why it failed.
        release: called once, when the video's file is no longer needed.
    """

    id: str
    owner: str
    frame_rate: float
    request_id: str
    with_audio: bool = False
    state: State = State.QUEUED
    duration_s: float | None = None
    frames: list[bytes] = field(default_factory=list)
    time_s: float = 0.0
    emotions: Counter[str] = field(default_factory=Counter)
    people: int = 0
    versions: set[str] = field(default_factory=set)
    heard: HeardVideo | None = None
    moments: list[Moment] = field(default_factory=list)
    refusal: RequestRefusedError | None = None
    release: Callable[[], None] = lambda: None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in (State.QUEUED, State.RUNNING)

    def tell(self) -> None:
        """Wake whoever follows it."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until something of it changes, or the time is over."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return

    async def follow(self) -> AsyncIterator[bytes]:
        """Its frames as they come, from the first on, each as JSON.

        Raises:
            RequestRefusedError: it failed or was cancelled.
        """
        given = 0
        while given < len(self.frames) or not self.is_over:
            if given == len(self.frames):
                await self.wait()
            for frame in self.frames[given:]:
                given += 1
                yield frame
        if self.refusal is not None:
            raise self.refusal

    def progress(self) -> ProgressAnswer:
        """How far it has come."""
        share = 1.0 if self.state is State.DONE else None
        if share is None and self.duration_s:
            share = min(1.0, round(self.time_s / self.duration_s, 3))
        return ProgressAnswer(frames=len(self.frames), time_s=self.time_s, duration_s=self.duration_s, share=share)

    def summary(self) -> SummaryAnswer:
        """Of the frames so far."""
        return SummaryAnswer(
            total_frames=len(self.frames),
            faces_detected=self.emotions.total(),
            dominant_emotion=max(self.emotions, key=self.emotions.__getitem__, default=None),
            people=self.people,
            model_versions=sorted(self.versions),
        )

    def sound(self) -> SoundAnswer | None:
        """What its sound says, and that together with its faces; None if it was not listened to."""
        if self.heard is None:
            return None
        whole = fusion.summary(self.moments)
        return SoundAnswer(
            problem=self.heard.problem,
            windows=[SpeechWindowAnswer.model_validate(records.speech_record(one)) for one in self.heard.windows],
            timeline=[_moment_answer(moment) for moment in self.moments],
            whole=None if whole is None else _moment_answer(whole),
        )

    def result(self) -> bytes:
        """The JSON of the whole answer, a `VideoAnswer`.

        Raises:
            RequestRefusedError: it failed or was cancelled, or is not done yet.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.state is not State.DONE:
            raise RequestRefusedError(HTTPStatus.CONFLICT, f"The video is not done yet: it is {self.state}.")
        return b'{"results":[%b],%b' % (b",".join(self.frames), self.conclusion()[1:])

    def conclusion(self) -> bytes:
        """The JSON of the answer without the frames."""
        whole = VideoAnswer(results=[], summary=self.summary(), sound=self.sound())
        return whole.model_dump_json(exclude={"results"}).encode()


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
            _cancel(job)
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
            _cancel(job)
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
                        _note(job, tracker, frame, recognition)
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


def _cancel(job: VideoJob) -> None:
    job.state = State.CANCELLED
    job.refusal = RequestRefusedError(HTTPStatus.GONE, "The video was cancelled.")
    job.tell()


def _note(job: VideoJob, tracker: Tracker, frame: LocatedFrame, recognition: Recognition) -> None:
    """Add an analysed frame to `job`."""
    faces = []
    for tracked in tracker.update(recognition.faces, frame.time_s):
        face, emotion = tracked.recognized.face, tracked.recognized.emotion
        box = clipped(face.box, recognition.width, recognition.height)
        faces.append(
            FrameFaceAnswer(
                emotion=emotion.label,
                confidence=round(emotion.confidence, 6),
                probabilities={label: round(value, 6) for label, value in emotion.probabilities.items()},
                box=box,
                track=tracked.track,
                model_version=emotion.model_version,
            )
        )
        job.emotions[emotion.label] += 1
        job.people = max(job.people, tracked.track)
        job.versions.add(emotion.model_version)
    timestamp, job.time_s = time.strftime("%H:%M:%S", time.gmtime(frame.time_s)), round(frame.time_s, 3)
    answer = FrameAnswer(frame=frame.index, timestamp=timestamp, time_s=job.time_s, faces=faces)
    job.frames.append(answer.model_dump_json().encode())


def _moment_answer(moment: Moment) -> MomentAnswer:
    return MomentAnswer.model_validate(records.moment_record(moment))
