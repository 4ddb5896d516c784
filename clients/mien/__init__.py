"""Mien's client: name the emotions of faces in pictures and videos, and of speech, on a Triton Inference Server."""

from mien.async_client import AsyncEmotionClient
from mien.client import EmotionClient
from mien.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    DetectorError,
    InferenceError,
    MediaError,
    MediaTooLargeError,
    MienError,
    ModelNotFoundError,
    RequestRejectedError,
    ServerOverloadedError,
    ServerUnavailableError,
    SettingsError,
    TensorError,
)
from mien.faces import Box, Face, Landmarks
from mien.results import (
    Comparison,
    Emotion,
    Miss,
    ModelStatus,
    Predictions,
    Recognition,
    RecognizedFace,
    Result,
    SpeechRecognition,
    SpeechWindow,
)
from mien.settings import ClientSettings

__all__ = [
    "AccessDeniedError",
    "AsyncEmotionClient",
    "Box",
    "ClientSettings",
    "Comparison",
    "DeadlineExceededError",
    "DetectorError",
    "Emotion",
    "EmotionClient",
    "Face",
    "InferenceError",
    "Landmarks",
    "MediaError",
    "MediaTooLargeError",
    "MienError",
    "Miss",
    "ModelNotFoundError",
    "ModelStatus",
    "Predictions",
    "Recognition",
    "RecognizedFace",
    "RequestRejectedError",
    "Result",
    "ServerOverloadedError",
    "ServerUnavailableError",
    "SettingsError",
    "SpeechRecognition",
    "SpeechWindow",
    "TensorError",
]
