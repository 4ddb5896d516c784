"""The route for pictures."""

import io
from typing import Any

from fastapi import APIRouter, Depends, Request

from mien import records
from mien.gateway.boxes import clipped
from mien.gateway.gateway import RequestId, TheGateway
from mien.gateway.guard import PicturePlace, rated
from mien.gateway.room import Place
from mien.gateway.schemas import NO_FACE, DetectAnswer, FaceAnswer, LocationAnswer
from mien.gateway.settings import GatewaySettings
from mien.gateway.uploads import read_form
from mien.results import Recognition

router = APIRouter(tags=["detection"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "A JPG, PNG or WebP file."}
                    },
                },
                "encoding": {"image": {"contentType": "image/jpeg, image/png, image/webp"}},
            }
        },
    }
}


_GUARDS = [Depends(rated("detect", lambda settings: settings.detect_per_minute))]


@router.post("/detect", openapi_extra=_BODY, response_model_exclude_unset=True, dependencies=_GUARDS)
async def detect(request: Request, gateway: TheGateway, request_id: RequestId, place: PicturePlace) -> DetectAnswer:
    """Find the faces of a picture and their emotions."""
    content = await _read_picture(request, gateway.settings, place)
    recognition = await gateway.recognizer.recognize(content, request_id)
    gateway.metrics.detect_seconds.observe(recognition.detect_s)
    gateway.metrics.infer_seconds.observe(recognition.infer_s)
    return detect_answer(recognition)


async def _read_picture(request: Request, settings: GatewaySettings, place: Place) -> bytes:
    with io.BytesIO() as file:
        await read_form(
            request,
            "image",
            file,
            max_bytes=settings.max_image_bytes,
            timeout_s=settings.image_upload_timeout_s,
            place=place,
        )
        return file.getvalue()


def detect_answer(recognition: Recognition) -> DetectAnswer:
    """A recognition as callers get it."""
    answer = DetectAnswer(
        width=recognition.width,
        height=recognition.height,
        faces=[FaceAnswer.model_validate(records.face_record(face)) for face in recognition.faces],
        detector=recognition.detector,
        request_id=recognition.request_id,
    )
    if not answer.faces:
        return answer.model_copy(update={"reason": NO_FACE, "error": NO_FACE})
    x, y, width, height = clipped(recognition.faces[0].face.box, recognition.width, recognition.height)
    return answer.model_copy(
        update={
            "emotion": answer.faces[0].emotion,
            "confidence": answer.faces[0].confidence,
            "face_location": LocationAnswer(x=x, y=y, width=width, height=height),
        }
    )
