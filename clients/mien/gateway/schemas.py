"""What callers get of pictures, recordings and cameras, as JSON; these models are also the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mien import contract

PROBABILITIES = dict(zip(contract.EMOTION_LABELS, (0.002, 0.0, 0.004, 0.95, 0.006, 0.018, 0.02), strict=True))
_BOX = {"x": 100.4, "y": 120.9, "width": 200.2, "height": 249.7}
_LANDMARKS = {
    "right_eye": [151.2, 212.8],
    "left_eye": [243.0, 214.1],
    "nose": [196.6, 268.3],
    "right_mouth": [158.9, 307.5],
    "left_mouth": [236.4, 309.0],
}
_FACE = {
    "box": _BOX,
    "score": 0.93,
    "landmarks": _LANDMARKS,
    "emotion": "happy",
    "confidence": 0.95,
    "probabilities": PROBABILITIES,
    "model_version": "1",
}

SPEECH_PROBABILITIES = dict(zip(contract.SPEECH_LABELS, (0.12, 0.02, 0.03, 0.05, 0.7, 0.06, 0.02), strict=True))
WINDOW = {
    "start_s": 0.0,
    "end_s": 2.4,
    "emotion": "happy",
    "confidence": 0.7,
    "probabilities": SPEECH_PROBABILITIES,
    "model_version": "1",
}

NO_FACE = "No face detected"
SILENCE = "The recording is silent"

Point = Annotated[tuple[float, float], Field(description="(x, y) in pixels")]


def example(value: dict[str, Any]) -> ConfigDict:
    """What has a model show `value` in the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": [value]})


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    model_config = example({"error": "No image uploaded"})

    error: str = Field(description="A sentence for a person.")


class BoxAnswer(BaseModel):
    """A rectangle in pixels of the upright picture; it may reach outside of it."""

    x: float
    y: float
    width: float
    height: float


class LocationAnswer(BaseModel):
    """A rectangle in whole pixels, inside the picture."""

    x: int
    y: int
    width: int
    height: int


class LandmarksAnswer(BaseModel):
    """Five points of a face; right and left are the person's own."""

    right_eye: Point
    left_eye: Point
    nose: Point
    right_mouth: Point
    left_mouth: Point


class FaceAnswer(BaseModel):
    """A face and its emotion."""

    model_config = example(_FACE)

    box: BoxAnswer
    score: float | None = Field(description="The face detector's confidence, 0 to 1; null where it has none.")
    landmarks: LandmarksAnswer | None = Field(description="Null where the face detector finds none.")
    emotion: str = Field(description="The emotion with the largest probability.")
    confidence: float = Field(description="Its probability.")
    probabilities: dict[str, float] = Field(description="Of every emotion; they sum to 1.")
    model_version: str = Field(description="The release that answered.")


class DetectAnswer(BaseModel):
    """The faces of a picture. `emotion`, `confidence` and `face_location` are those of the largest face."""

    model_config = example(
        {
            "width": 512,
            "height": 512,
            "faces": [_FACE],
            "emotion": "happy",
            "confidence": 0.95,
            "face_location": {"x": 100, "y": 121, "width": 200, "height": 250},
            "detector": "yunet",
            "request_id": "5f0c9a",
        }
    )

    width: int = Field(description="Of the upright picture, in pixels.")
    height: int = Field(description="Of the upright picture, in pixels.")
    faces: list[FaceAnswer] = Field(description="The largest first; empty if there is none.")
    emotion: str | None = Field(default=None, description="Of the largest face.")
    confidence: float | None = Field(default=None, description="Of the largest face.")
    face_location: LocationAnswer | None = Field(default=None, description="Of the largest face.")
    reason: str | None = Field(default=None, description="Why there is no face.")
    error: str | None = Field(default=None, description="The same, for callers that look for it here.")
    detector: str = Field(description="Which face detector looked.")
    request_id: str = Field(description="What the logs know this call by.")


class SpeechWindowAnswer(BaseModel):
    """A stretch of a recording and its emotion; all but its times are null in silence."""

    model_config = example(WINDOW)

    start_s: float = Field(description="Where it begins, in seconds.")
    end_s: float = Field(description="Where it ends, in seconds.")
    emotion: str | None = Field(description="The emotion with the largest probability.")
    confidence: float | None = Field(description="Its probability.")
    probabilities: dict[str, float] | None = Field(description="Of every emotion; they sum to 1.")
    model_version: str | None = Field(description="The release that answered.")


class AudioAnswer(BaseModel):
    """The emotions over a recording; those of the whole are the mean of its windows that are not silent."""

    model_config = example(
        {
            "duration_s": 2.4,
            "windows": [WINDOW],
            "emotion": "happy",
            "confidence": 0.7,
            "probabilities": SPEECH_PROBABILITIES,
            "model_version": "1",
            "reason": None,
            "request_id": "5f0c9a",
        }
    )

    duration_s: float = Field(description="Of the recording, in seconds.")
    windows: list[SpeechWindowAnswer] = Field(description="In order; each overlaps the one before.")
    emotion: str | None = Field(description="Of the whole recording; null if it is silent.")
    confidence: float | None = Field(description="Its probability.")
    probabilities: dict[str, float] | None = Field(description="Of every emotion; they sum to 1.")
    model_version: str | None = Field(description="The release that answered.")
    reason: str | None = Field(description="Why there is no emotion.")
    request_id: str = Field(description="What the logs know this call by.")


class CameraFaceAnswer(FaceAnswer):
    """A face that a camera sees; its probabilities are smoothed over time."""

    track: int = Field(description="The same person keeps it from frame to frame.")


class CameraAnswer(BaseModel):
    """What was found in a frame of a camera, or why nothing was."""

    frame: int = Field(description="Counted from 1 over all frames that came, also those that were dropped.")
    width: int | None = Field(default=None, description="Of the frame, in pixels.")
    height: int | None = Field(default=None, description="Of the frame, in pixels.")
    faces: list[CameraFaceAnswer] = Field(default=[], description="The largest first.")
    detector: str | None = Field(default=None, description="Which face detector looked.")
    error: str | None = Field(default=None, description="Why the frame cannot be used; the camera goes on.")


class HealthAnswer(BaseModel):
    """Whether the gateway lives."""

    model_config = example({"status": "ok"})

    status: str


class ReadyAnswer(BaseModel):
    """Whether the gateway is ready."""

    model_config = example({"status": "ready", "speech": True})

    status: str
    speech: bool = Field(description="Whether the model server answers speech too; without it only faces are named.")
