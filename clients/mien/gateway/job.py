"""One video: how far its analysis has come, what it has found so far, and the answer at its end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from mien import fusion, records
from mien.gateway.boxes import clipped
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.schemas import SpeechWindowAnswer
from mien.gateway.video_schemas import (
    FrameAnswer,
    FrameFaceAnswer,
    MomentAnswer,
    ProgressAnswer,
    SoundAnswer,
    SummaryAnswer,
    VideoAnswer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mien.fusion import Moment
    from mien.gateway.decoding import LocatedFrame
    from mien.gateway.listening import HeardVideo
    from mien.results import Recognition
    from mien.tracking import Tracker


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

    def cancel(self) -> None:
        """Mark it as cancelled, and tell whoever follows it."""
        self.state = State.CANCELLED
        self.refusal = RequestRefusedError(HTTPStatus.GONE, "The video was cancelled.")
        self.tell()

    def note(self, tracker: Tracker, frame: LocatedFrame, recognition: Recognition) -> None:
        """Add a frame that was analysed; `tracker` has seen those before it."""
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
            self.emotions[emotion.label] += 1
            self.people = max(self.people, tracked.track)
            self.versions.add(emotion.model_version)
        timestamp, self.time_s = time.strftime("%H:%M:%S", time.gmtime(frame.time_s)), round(frame.time_s, 3)
        answer = FrameAnswer(frame=frame.index, timestamp=timestamp, time_s=self.time_s, faces=faces)
        self.frames.append(answer.model_dump_json().encode())

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


def _moment_answer(moment: Moment) -> MomentAnswer:
    return MomentAnswer.model_validate(records.moment_record(moment))
