"""The routes of feedback: a contributor gives and erases corrections, a reviewer looks at them and decides."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import APIKeyHeader, HTTPBearer

from mien.gateway.feedback.access import FeedbackId, Reviewer, TheDesk, reviewer
from mien.gateway.feedback.desk import FeedbackDesk
from mien.gateway.feedback.errors import FeedbackFullError, FeedbackUnavailableError, UnknownFeedbackError
from mien.gateway.feedback.kinds import FACE, SPEECH, Kind
from mien.gateway.feedback.schemas import (
    CorrectionAnswer,
    CorrectionsAnswer,
    ReceiptAnswer,
    ReviewRequest,
    SpeechTermsAnswer,
    TermsAnswer,
)
from mien.gateway.feedback.store import GivenCorrection
from mien.gateway.feedback.tables import ReviewState
from mien.gateway.feedback.terms import terms
from mien.gateway.gateway import Gateway, TheGateway
from mien.gateway.guard import Caller, PicturePlace, RecordingPlace, caller
from mien.gateway.recognition import check_picture
from mien.gateway.recordings import RECORDING_HEADER_BYTES, check_recording
from mien.gateway.refusals import RETRY_SOON, RequestRefusedError
from mien.gateway.room import Place
from mien.gateway.uploads import read_form

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/feedback", tags=["feedback"])

CONTRIBUTOR_PATTERN = r"^[A-Za-z0-9._@+-]{1,64}$"
_RELEASE = re.compile(r"[0-9]{1,16}")
_MAX_OFFSET = 10**9


def _body(kind: Kind, description: str, media_types: str) -> dict[str, Any]:
    """The OpenAPI document of a form that gives a correction."""
    label = {"type": "string", "enum": list(kind.ensemble.labels)}
    properties = {
        kind.field: {"type": "string", "format": "binary", "description": description},
        "predicted": {**label, "description": "`emotion` in the answer."},
        "corrected": {**label, "description": "What it should have been."},
        "release": {
            "type": "string",
            "pattern": "^[0-9]{1,16}$",
            "description": "`model_version` in the answer.",
        },
        "consent": {"type": "string", "enum": ["true"], "description": "To `terms` of the terms."},
        "contributor": {
            "type": "string",
            "pattern": CONTRIBUTOR_PATTERN,
            "description": "A name of your choice under which all that you gave can be erased.",
        },
    }
    schema = {
        "type": "object",
        "required": [kind.field, "predicted", "corrected", "release", "consent"],
        "properties": properties,
    }
    form = {"schema": schema, "encoding": {kind.field: {"contentType": media_types}}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form}}}


_FACE_BODY = _body(FACE, "The face alone, as a square: a JPG, PNG or WebP file.", "image/jpeg, image/png, image/webp")
_SPEECH_BODY = _body(
    SPEECH,
    "The window alone, of 3 s at most: a WAV, FLAC, OGG or MP3 file.",
    "audio/wav, audio/flac, audio/ogg, audio/mpeg",
)

# A token makes a key unnecessary, so these are asked by hand where there is none.
_bearer = HTTPBearer(auto_error=False)
_header = APIKeyHeader(name="X-API-Key", auto_error=False)


async def _rated(request: Request, gateway: TheGateway, desk: TheDesk) -> None:
    """Counted by address alone: whoever has a token needs no key."""
    host = request.client.host if request.client else "unknown"
    await gateway.rates.take("feedback-erase", f"address:{host}", desk.settings.per_minute)


@router.get("/terms")
async def feedback_terms(desk: TheDesk) -> TermsAnswer:
    """Whether corrections are taken here, and what a person agrees to who gives one."""
    settings = desk.settings
    return TermsAnswer(
        enabled=desk.is_open,
        terms=terms(settings.retention_days, FACE),
        labels=list(FACE.ensemble.labels),
        retention_days=settings.retention_days,
        max_picture_bytes=settings.max_picture_bytes,
        speech=SpeechTermsAnswer(
            terms=terms(settings.retention_days, SPEECH),
            labels=list(SPEECH.ensemble.labels),
            max_recording_bytes=settings.max_recording_bytes,
        ),
    )


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=_FACE_BODY)
async def give_feedback(
    request: Request, gateway: TheGateway, desk: TheDesk, who: Caller, place: PicturePlace
) -> ReceiptAnswer:
    """Correct the label of a face. The picture is kept only with `consent=true`, encrypted, and for a while."""
    await _check_open(gateway, desk, who)
    return await _keep(desk, await _read_face(request, gateway, desk, place), who)


@router.post("/speech", status_code=HTTPStatus.CREATED, openapi_extra=_SPEECH_BODY)
async def give_speech_feedback(
    request: Request, gateway: TheGateway, desk: TheDesk, who: Caller, place: RecordingPlace
) -> ReceiptAnswer:
    """Correct the label of a window of speech. Its sound is kept only with `consent=true`, encrypted, for a while."""
    await _check_open(gateway, desk, who)
    return await _keep(desk, await _read_speech(request, gateway, desk, place), who)


@router.delete("/{feedback_id}", status_code=HTTPStatus.NO_CONTENT, dependencies=[Depends(_rated)])
async def erase_feedback(
    request: Request,
    gateway: TheGateway,
    desk: TheDesk,
    feedback_id: FeedbackId,
    token: Annotated[
        str | None, Header(alias="X-Erasure-Token", description="From the receipt; a reviewer's API key does too.")
    ] = None,
) -> None:
    """Erase a correction and its picture, for good."""
    if token is not None:
        with _refusing():
            await desk.ask(desk.store.erase_with_token, feedback_id, token)
        return
    who = await caller(request, gateway, await _bearer(request), await _header(request))
    who = await reviewer(request, gateway, desk, who)
    with _refusing():
        await desk.ask(desk.store.erase, feedback_id, who)


@router.get("", dependencies=[Depends(reviewer)])
async def list_feedback(
    desk: TheDesk,
    state: Annotated[ReviewState | None, Query(description="Only those.")] = None,
    contributor: Annotated[str | None, Query(pattern=CONTRIBUTOR_PATTERN, description="Only this one's.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=_MAX_OFFSET, description="Leave out so many of the oldest.")] = 0,
) -> CorrectionsAnswer:
    """Corrections, the oldest first. For reviewers."""
    with _refusing():
        found, total = await desk.ask(desk.store.entries, state, contributor, limit=limit, offset=offset)
    return CorrectionsAnswer(corrections=[CorrectionAnswer.of(one) for one in found], total=total)


@router.get("/{feedback_id}", dependencies=[Depends(reviewer)])
async def show_feedback(desk: TheDesk, feedback_id: FeedbackId) -> CorrectionAnswer:
    """One correction. For reviewers."""
    with _refusing():
        return CorrectionAnswer.of(await desk.ask(desk.store.find, feedback_id))


@router.get("/{feedback_id}/picture", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def feedback_picture(desk: TheDesk, who: Reviewer, feedback_id: FeedbackId) -> Response:
    """The face of a correction, as PNG; that it was shown is noted. For reviewers."""
    return await _example(desk, who, feedback_id, FACE)


@router.get("/{feedback_id}/recording", response_class=Response, responses={200: {"content": {"audio/flac": {}}}})
async def feedback_recording(desk: TheDesk, who: Reviewer, feedback_id: FeedbackId) -> Response:
    """The speech of a correction, as FLAC; that it was listened to is noted. For reviewers."""
    return await _example(desk, who, feedback_id, SPEECH)


@router.post("/{feedback_id}/review")
async def review_feedback(
    desk: TheDesk, who: Reviewer, feedback_id: FeedbackId, review: ReviewRequest
) -> CorrectionAnswer:
    """Accept a correction for training, or reject it. For reviewers."""
    with _refusing():
        return CorrectionAnswer.of(await desk.ask(desk.store.review, feedback_id, review.decision, who))


async def _check_open(gateway: Gateway, desk: FeedbackDesk, who: str) -> None:
    if not desk.is_open:
        raise RequestRefusedError(
            HTTPStatus.FORBIDDEN, "This gateway takes no feedback; MIEN_FEEDBACK=true would let it."
        )
    await gateway.rates.take("feedback", who, desk.settings.per_minute)


async def _keep(desk: FeedbackDesk, given: GivenCorrection, who: str) -> ReceiptAnswer:
    with _refusing():
        receipt = await desk.ask(desk.store.add, given, who if who.startswith("key:") else "anonymous")
    return ReceiptAnswer(id=receipt.id, erasure_token=receipt.erasure_token, expires=receipt.expires)


async def _example(desk: FeedbackDesk, who: str, identifier: str, kind: Kind) -> Response:
    with _refusing():
        correction = await desk.ask(desk.store.find, identifier)
        if correction.ensemble != kind.ensemble.name:
            raise UnknownFeedbackError(f"The correction {identifier!r} has no {kind.name}: it is not about that.")
        return Response(await desk.ask(desk.store.example, identifier, who), media_type=kind.media_type)


async def _read_face(request: Request, gateway: Gateway, desk: FeedbackDesk, place: Place) -> GivenCorrection:
    with io.BytesIO() as file:
        fields = await read_form(
            request,
            FACE.field,
            file,
            max_bytes=desk.settings.max_picture_bytes,
            timeout_s=gateway.settings.image_upload_timeout_s,
            place=place,
        )
        given = _correction(fields, FACE)
        content = file.getvalue()
    check_picture(content)
    return replace(given, example=await desk.crops.read(content))


async def _read_speech(request: Request, gateway: Gateway, desk: FeedbackDesk, place: Place) -> GivenCorrection:
    with NamedTemporaryFile(dir=gateway.spool) as file:
        fields = await read_form(
            request,
            SPEECH.field,
            file,
            max_bytes=desk.settings.max_recording_bytes,
            timeout_s=gateway.settings.audio_upload_timeout_s,
            place=place,
        )
        given = _correction(fields, SPEECH)
        check_recording(file.read(RECORDING_HEADER_BYTES))
        return replace(given, example=await desk.utterances.read(Path(file.name)))


def _correction(fields: dict[str, str], kind: Kind) -> GivenCorrection:
    """What the fields say, without what it is about."""
    _check_consent(fields, kind)
    predicted, corrected = (_label(fields, name, kind) for name in ("predicted", "corrected"))
    if predicted == corrected:
        raise _wrong(f"corrected is {corrected}, as predicted is: there is nothing to correct.")
    release, contributor = fields.get("release", ""), fields.get("contributor") or None
    if not _RELEASE.fullmatch(release):
        raise _wrong(f"release is {release[:32]!r}: give the model_version of the answer, such as 1.")
    if contributor is not None and not re.fullmatch(CONTRIBUTOR_PATTERN, contributor):
        raise _wrong("contributor may have up to 64 letters, digits, and . _ @ + -.")
    return GivenCorrection(predicted, corrected, release, b"", contributor, kind)


def _check_consent(fields: dict[str, str], kind: Kind) -> None:
    if fields.get("consent") != "true":
        raise _wrong(
            f"consent is not true, so nothing was kept: a {kind.what} is kept only if the person agrees to the "
            "terms, which are at /v1/feedback/terms."
        )


def _label(fields: dict[str, str], name: str, kind: Kind) -> str:
    value, labels = fields.get(name, ""), kind.ensemble.labels
    if value not in labels:
        raise _wrong(f"{name} is {value[:32]!r}: give one of {', '.join(labels)}.")
    return value


def _wrong(sentence: str) -> RequestRefusedError:
    return RequestRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell the store's errors with the status that fits; where it lies is its operator's business."""
    try:
        yield
    except UnknownFeedbackError as error:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, str(error)) from error
    except FeedbackFullError as error:
        raise RequestRefusedError(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from error
    except FeedbackUnavailableError as error:
        logger.warning("feedback_unavailable", extra={"reason": str(error)})
        raise RequestRefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE, "The feedback store cannot be used now; try again in a moment.", RETRY_SOON
        ) from error
