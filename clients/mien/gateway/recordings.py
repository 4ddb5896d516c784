"""The route for recordings of speech."""

from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from fastapi import APIRouter, Depends, Request

from mien import records
from mien.gateway.gateway import RequestId, TheGateway
from mien.gateway.guard import RecordingPlace, rated
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.schemas import SILENCE, AudioAnswer, SpeechWindowAnswer
from mien.gateway.uploads import read_form
from mien.results import SpeechRecognition

router = APIRouter(tags=["detection"])

RECORDING_HEADER_BYTES = 12

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {
                        "audio": {
                            "type": "string",
                            "format": "binary",
                            "description": "A WAV, FLAC, OGG or MP3 file, of 0.1 s at least.",
                        }
                    },
                },
                "encoding": {"audio": {"contentType": "audio/wav, audio/flac, audio/ogg, audio/mpeg"}},
            }
        },
    }
}
_GUARDS = [Depends(rated("detect-audio", lambda settings: settings.detect_audio_per_minute))]


@router.post("/detect-audio", openapi_extra=_BODY, dependencies=_GUARDS)
async def detect_audio(
    request: Request, gateway: TheGateway, request_id: RequestId, place: RecordingPlace
) -> AudioAnswer:
    """Name the emotions of a recording of speech, in windows of 3 s that overlap."""
    settings = gateway.settings
    with NamedTemporaryFile(dir=gateway.spool) as file:
        await read_form(
            request,
            "audio",
            file,
            max_bytes=settings.max_audio_bytes,
            timeout_s=settings.audio_upload_timeout_s,
            place=place,
        )
        check_recording(file.read(RECORDING_HEADER_BYTES))
        recognition = await gateway.listener.recognize(Path(file.name), request_id)
    return audio_answer(recognition)


def check_recording(head: bytes) -> None:
    """Look at the first bytes of a file before anything is made of it.

    Raises:
        RequestRefusedError: it is no WAV, FLAC, OGG or MP3.
    """
    is_wav = head.startswith(b"RIFF") and head[8:12] == b"WAVE"
    # A frame of MPEG audio, layer III; the tags that many MP3 files begin with are ID3.
    is_mp3 = head.startswith(b"ID3") or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2)
    if not (is_wav or is_mp3 or head.startswith((b"fLaC", b"OggS"))):
        raise RequestRefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The recording is not a WAV, FLAC, OGG or MP3 file."
        )


def audio_answer(recognition: SpeechRecognition) -> AudioAnswer:
    """A recognition as callers get it."""
    return AudioAnswer(
        duration_s=round(recognition.duration_s, 3),
        windows=[SpeechWindowAnswer.model_validate(records.speech_record(window)) for window in recognition.windows],
        reason=SILENCE if recognition.is_silent else None,
        request_id=recognition.request_id,
        **records.emotion_record(recognition.emotion),
    )
