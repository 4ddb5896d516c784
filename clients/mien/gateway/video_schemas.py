"""What callers get of videos, as JSON: frames, faces and speech on one timeline, and how far an analysis is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from mien import fusion, records
from mien.gateway.schemas import PROBABILITIES, SPEECH_PROBABILITIES, WINDOW, SpeechWindowAnswer, example
from mien.results import Emotion

_FRAME_FACE = {
    "emotion": "happy",
    "confidence": 0.95,
    "probabilities": PROBABILITIES,
    "box": [100, 120, 200, 249],
    "track": 1,
    "model_version": "1",
}
_FRAME = {"frame": 0, "timestamp": "00:00:00", "time_s": 0.0, "faces": [_FRAME_FACE]}
_SUMMARY = {"total_frames": 1, "faces_detected": 1, "dominant_emotion": "happy", "people": 1, "model_versions": ["1"]}
_MOMENT = records.moment_record(
    fusion.Moment(0.0, fusion.STEP_S, 1, Emotion(PROBABILITIES, "1"), Emotion(SPEECH_PROBABILITIES, "1"))
)
_SOUND = {"problem": None, "windows": [WINDOW], "timeline": [_MOMENT], "whole": _MOMENT}


class FrameFaceAnswer(BaseModel):
    """A face in a frame."""

    emotion: str
    confidence: float
    probabilities: dict[str, float] = Field(description="Of every emotion; they sum to 1.")
    box: Annotated[tuple[int, int, int, int], Field(description="x, y, width, height in pixels, inside the frame")]
    track: int = Field(description="The same person keeps it from frame to frame.")
    model_version: str = Field(description="The release that answered.")


class FrameAnswer(BaseModel):
    """A frame that was analysed."""

    model_config = example(_FRAME)

    frame: int = Field(description="Counted from 0 over all frames of the video.")
    timestamp: str = Field(description="Its time, HH:MM:SS.")
    time_s: float = Field(description="Its time in seconds.")
    faces: list[FrameFaceAnswer]


class SummaryAnswer(BaseModel):
    """A whole video in short."""

    total_frames: int = Field(description="Frames analysed.")
    faces_detected: int = Field(description="Faces in all of them together.")
    dominant_emotion: str | None = Field(description="Of most faces; null if there is none.")
    people: int = Field(description="Different tracks.")
    model_versions: list[str] = Field(description="The releases that answered.")


class FusedEmotionAnswer(BaseModel):
    """What faces and speech say together."""

    emotion: str = Field(description="The emotion with the largest probability.")
    confidence: float = Field(description="Its probability.")
    probabilities: dict[str, float] = Field(description="Of every emotion that either may have; they sum to 1.")


class EmotionAnswer(FusedEmotionAnswer):
    """What faces, or speech, say."""

    probabilities: dict[str, float] = Field(description="Of every emotion; they sum to 1.")
    model_version: str = Field(description="The release that answered.")


class MomentAnswer(BaseModel):
    """A stretch of a video, of 1.5 s: what its faces say, what its speech says, and both together."""

    model_config = example(_MOMENT)

    start_s: float = Field(description="Where it begins, in seconds.")
    end_s: float = Field(description="Where it ends, in seconds.")
    faces: int = Field(description="Faces in all of its frames that were analysed.")
    face: EmotionAnswer | None = Field(description="Mean of those; null if there is none.")
    speech: EmotionAnswer | None = Field(description="Mean of the windows about it; null in silence or without sound.")
    fused: FusedEmotionAnswer | None = Field(description="Both, weighted by confidence; or the only one there is.")


class SoundAnswer(BaseModel):
    """What a video's sound says, and that on one timeline with its faces."""

    model_config = example(_SOUND)

    problem: str | None = Field(
        description="Why there is no speech, or none after the last window: no sound, damaged sound, or no answer."
    )
    windows: list[SpeechWindowAnswer] = Field(description="Of the sound, in order; each overlaps the one before.")
    timeline: list[MomentAnswer] = Field(description="The whole video, in order and without a gap.")
    whole: MomentAnswer | None = Field(description="The mean of the timeline, each of faces and speech for itself.")


class VideoAnswer(BaseModel):
    """The faces of a video, and its speech where that was asked for."""

    model_config = example({"results": [_FRAME], "summary": _SUMMARY, "sound": _SOUND})

    results: list[FrameAnswer]
    summary: SummaryAnswer
    sound: SoundAnswer | None = Field(default=None, description="Null unless `audio` was asked for.")


class ProgressAnswer(BaseModel):
    """How far the analysis of a video has come."""

    frames: int = Field(description="Frames analysed so far.")
    time_s: float = Field(description="Seconds of the video so far.")
    duration_s: float | None = Field(description="Of the whole video, as it says itself; null if it does not.")
    share: float | None = Field(description="0 to 1; null where the duration is unknown.")


class JobAnswer(BaseModel):
    """A video that is being analysed."""

    model_config = example(
        {
            "id": "Jq0m2zcJYBkXw5dD",
            "state": "running",
            "progress": {"frames": 31, "time_s": 30.0, "duration_s": 120.0, "share": 0.25},
            "status_url": "/v1/jobs/Jq0m2zcJYBkXw5dD",
            "result_url": "/v1/jobs/Jq0m2zcJYBkXw5dD/result",
            "error": None,
        }
    )

    id: str
    state: str = Field(description="queued, running, done, failed or cancelled.")
    progress: ProgressAnswer
    status_url: str
    result_url: str
    error: str | None = Field(default=None, description="Why it failed.")
