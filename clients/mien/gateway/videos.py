"""The routes for videos, and for those that take longer than their callers wait."""

import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from mien.gateway.gateway import Gateway, RequestId, TheGateway
from mien.gateway.guard import Caller, rated
from mien.gateway.job import VideoJob
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.uploads import read_form
from mien.gateway.video_schemas import JobAnswer, VideoAnswer

router = APIRouter(tags=["detection"])
jobs_router = APIRouter(prefix="/jobs", tags=["videos that take long"])

JSON, NDJSON = "application/json", "application/x-ndjson"
DEFAULT_FRAME_RATE = 1.0
MIN_FRAME_RATE, MAX_FRAME_RATE = 0.1, 60.0
LOOK_S = 1.0
"""How often it is looked whether a waiting caller is still there."""

_HEADER_BYTES = 12
_WAIT = re.compile(r"\bwait=(\d{1,6})\b")

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {
                        "video": {"type": "string", "format": "binary", "description": "An MP4 or AVI file."},
                        "frame_rate": {
                            "type": "number",
                            "default": DEFAULT_FRAME_RATE,
                            "minimum": MIN_FRAME_RATE,
                            "maximum": MAX_FRAME_RATE,
                            "description": "Frames analysed a second.",
                        },
                        "audio": {
                            "type": "string",
                            "enum": ["true", "false"],
                            "default": "false",
                            "description": "Whether its sound is listened to as well.",
                        },
                    },
                },
                "encoding": {"video": {"contentType": "video/mp4, video/x-msvideo"}},
            }
        },
    },
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "schema": {"type": "string"},
            "description": "respond-async: a job at once; wait=N: a job after N seconds (RFC 7240).",
        }
    ],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": VideoAnswer, "content": {NDJSON: {"schema": {"type": "string"}}}},
    202: {"model": JobAnswer, "description": "It takes longer: look for the result there later."},
}
_GUARDS = [Depends(rated("detect-video", lambda settings: settings.detect_video_per_minute))]


@router.post("/detect-video", openapi_extra=_BODY, responses=_RESPONSES, dependencies=_GUARDS)
async def detect_video(request: Request, gateway: TheGateway, who: Caller, request_id: RequestId) -> Response:
    """Find the faces of a video and their emotions; with `audio=true` those of its speech, and both together.

    With `Accept: application/x-ndjson` each frame is a line as soon as it is analysed; the last line holds the summary,
    and what the sound says if that was asked for, or the error.
    """
    job = await _take_in(request, gateway, who, request_id)
    if NDJSON in request.headers.get("accept", ""):
        return await _streamed(gateway, job)
    await _wait(gateway, job, request)
    if not job.is_over:
        answer = _job_answer(job)
        headers = {"Location": answer.status_url, "Retry-After": "5"}
        return JSONResponse(answer.model_dump(), HTTPStatus.ACCEPTED, headers)
    gateway.jobs.drop(job)
    return Response(job.result(), media_type=JSON)


async def _take_in(request: Request, gateway: Gateway, who: str, request_id: str) -> VideoJob:
    settings = gateway.settings
    with ExitStack() as stack:
        file = stack.enter_context(NamedTemporaryFile(dir=gateway.spool))
        with gateway.upload_room.taken() as place:
            gateway.jobs.check_room()
            fields = await read_form(
                request,
                "video",
                file,
                max_bytes=settings.max_video_bytes,
                timeout_s=settings.video_upload_timeout_s,
                place=place,
            )
        _check_kind(file.read(_HEADER_BYTES))
        frame_rate, with_audio = _frame_rate(fields.get("frame_rate", "")), _with_audio(fields.get("audio", ""))
        job = gateway.jobs.submit(Path(file.name), frame_rate, who, request_id, with_audio=with_audio)
        job.release = stack.pop_all().close
    return job


@jobs_router.get("/{job_id}")
async def job_status(job_id: str, gateway: TheGateway, who: Caller) -> JobAnswer:
    """How far the analysis of a video has come."""
    return _job_answer(gateway.jobs.find(job_id, who))


@jobs_router.get("/{job_id}/result", responses={200: {"model": VideoAnswer}})
async def job_result(job_id: str, gateway: TheGateway, who: Caller) -> Response:
    """The result of a video that is done; 409 while it is not."""
    return Response(gateway.jobs.find(job_id, who).result(), media_type=JSON)


@jobs_router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
async def cancel_job(job_id: str, gateway: TheGateway, who: Caller) -> None:
    """Stop the analysis of a video, and forget what it gave."""
    gateway.jobs.drop(gateway.jobs.find(job_id, who))


def _check_kind(head: bytes) -> None:
    """Look at the first bytes of a file before anything is made of it."""
    is_avi = head.startswith(b"RIFF") and head[8:12] == b"AVI "
    if not (head[4:8] == b"ftyp" or is_avi):
        raise RequestRefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The video is not an MP4 or AVI file.")


def _frame_rate(given: str) -> float:
    try:
        value = float(given.strip() or DEFAULT_FRAME_RATE)
    except ValueError:
        value = math.nan
    if not MIN_FRAME_RATE <= value <= MAX_FRAME_RATE:
        raise RequestRefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"frame_rate is {given[:32]!r}: give a number from {MIN_FRAME_RATE:g} to {MAX_FRAME_RATE:g}.",
        )
    return value


def _with_audio(given: str) -> bool:
    if given.strip() not in ("true", "false", ""):
        raise RequestRefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"audio is {given[:32]!r}: true has the sound listened to, false does not.",
        )
    return given.strip() == "true"


async def _wait(gateway: Gateway, job: VideoJob, request: Request) -> None:
    """Until the job is over, the caller has waited long enough, or has gone, which ends the job."""
    prefer = request.headers.get("prefer", "")
    wait_s = gateway.settings.video_wait_s
    if asked := _WAIT.search(prefer):
        wait_s = min(wait_s, float(asked[1]))
    end = time.monotonic() + (0.0 if "respond-async" in prefer else wait_s)
    while not job.is_over and (left_s := end - time.monotonic()) > 0:
        if await request.is_disconnected():
            gateway.jobs.drop(job)
        await job.wait(min(LOOK_S, left_s))


async def _streamed(gateway: Gateway, job: VideoJob) -> StreamingResponse:
    """Frames as lines; what fails before the first is an answer with its own status."""
    frames = job.follow()
    try:
        first = await anext(frames, None)
    except RequestRefusedError:
        gateway.jobs.drop(job)
        raise

    async def lines() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield b"%b\n" % first
            async for frame in frames:
                yield b"%b\n" % frame
            yield b"%b\n" % job.conclusion()
        except RequestRefusedError as error:
            yield b"%b\n" % bytes(JSONResponse({"error": str(error)}).body)
        finally:
            gateway.jobs.drop(job)

    return StreamingResponse(lines(), media_type=NDJSON)


def _job_answer(job: VideoJob) -> JobAnswer:
    place = f"/v1/jobs/{job.id}"
    return JobAnswer(
        id=job.id,
        state=job.state,
        progress=job.progress(),
        status_url=place,
        result_url=f"{place}/result",
        error=str(job.refusal) if job.refusal else None,
    )
