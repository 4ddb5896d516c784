"""A camera: frames come over a WebSocket, and each one that is looked at is answered.

The newest frame waits while another is looked at; an older one that still waits is dropped, never queued.
"""

import asyncio
import logging
import secrets
import time
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.datastructures import Headers

from mien import records
from mien.errors import MienError
from mien.gateway.gateway import Gateway
from mien.gateway.guard import caller
from mien.gateway.refusals import RequestRefusedError, as_refused
from mien.gateway.schemas import CameraAnswer, CameraFaceAnswer
from mien.tracking import Tracker
from mien.video import SMOOTHING

logger = logging.getLogger(__name__)

router = APIRouter()

PROTOCOL = "mien.camera"
"""The WebSocket's subprotocol. A page offers its API key as another one: it can set no header there."""

MAX_GAP_S = 3.0
"""A face that was away longer comes back as another person; on a busy gateway frames may be a second apart."""

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013


@router.websocket("/camera")
async def camera(socket: WebSocket) -> None:
    """Answer a camera's frames until it ends."""
    if not is_same_origin(socket.headers):
        await socket.close()  # refused with 403, before there is a socket
        return
    await socket.accept(PROTOCOL if PROTOCOL in _subprotocols(socket) else None)
    gateway: Gateway = socket.app.state.gateway
    try:
        who = await _caller(socket, gateway)
        await gateway.rates.take("camera", who, gateway.settings.cameras_per_minute)
        with gateway.cameras.taken(who), gateway.metrics.cameras.track_inprogress():
            await _Session(socket, gateway).run()
    except RequestRefusedError as refusal:
        await _end(socket, refusal)
    except WebSocketDisconnect:
        return


def is_same_origin(headers: Headers) -> bool:
    """Whether a handshake comes from a page of this gateway, or from no page at all.

    Browsers let any page open a WebSocket to anywhere and say in `Origin` which page it is; other clients send none.
    """
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _subprotocols(socket: WebSocket) -> list[str]:
    offered: list[str] = socket.scope.get("subprotocols", [])
    return offered


async def _caller(socket: WebSocket, gateway: Gateway) -> str:
    """Who calls; the key is in a header or, from a browser, in the other subprotocol."""
    header = socket.headers
    bearer = header.get("authorization", "").removeprefix("Bearer ")
    others = [offered for offered in _subprotocols(socket) if offered != PROTOCOL]
    return await caller(socket, gateway, None, bearer or header.get("x-api-key") or next(iter(others), None))


async def _end(socket: WebSocket, refusal: RequestRefusedError) -> None:
    """Say why and close: a browser tells its page nothing of a handshake that was refused."""
    is_busy = refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    try:
        await socket.send_json({"error": str(refusal)})
        await socket.close(_TRY_AGAIN_LATER if is_busy else _POLICY_VIOLATION)
    except (WebSocketDisconnect, RuntimeError):  # it has gone, or closed meanwhile
        return


class _Session:
    """One open camera.

    Args:
        socket: has been accepted.
        gateway: looks at its frames.
    """

    def __init__(self, socket: WebSocket, gateway: Gateway) -> None:
        self._socket = socket
        self._gateway = gateway
        self._settings = gateway.settings
        self._id = secrets.token_hex(16)
        self._tracker = Tracker(MAX_GAP_S, SMOOTHING)
        self._received = 0
        self._answered = 0
        self._newest: bytes | None = None
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        """Take and answer frames.

        Raises:
            RequestRefusedError: it cannot go on.
            WebSocketDisconnect: the other side has ended it.
        """
        with structlog.contextvars.bound_contextvars(request_id=self._id):
            tasks = [asyncio.create_task(self._take_frames()), asyncio.create_task(self._answer_frames())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                key = getattr(self._socket.state, "key", None)
                logger.info("camera", extra={"received": self._received, "answered": self._answered, "key": key})

    async def _take_frames(self) -> None:
        limit = self._settings.max_camera_frame_bytes
        while True:
            frame = await self._receive()
            if len(frame) > limit:
                raise RequestRefusedError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The frame is larger than the limit of {limit:,} bytes."
                )
            self._received += 1
            self._newest = frame
            self._arrived.set()

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(self._settings.camera_idle_s):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise RequestRefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"No frame came for {self._settings.camera_idle_s:g} s."
            ) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        content = message.get("bytes")
        if content is None:
            raise RequestRefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send each frame as a binary message: a JPG, PNG or WebP file."
            )
        frame: bytes = content
        return frame

    async def _answer_frames(self) -> None:
        interval_s = 1 / self._settings.camera_frames_per_second
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            frame, number, due = self._newest or b"", self._received, time.monotonic() + interval_s
            await _caller(self._socket, self._gateway)  # its key may have been removed meanwhile
            answer = await self._answer(frame, number)
            self._answered += 1
            await self._socket.send_text(answer.model_dump_json())
            await asyncio.sleep(due - time.monotonic())

    async def _answer(self, frame: bytes, number: int) -> CameraAnswer:
        try:
            with self._gateway.picture_room.taken():
                recognition = await self._gateway.recognizer.recognize(frame, f"{self._id}.{number}")
        except MienError as error:
            return CameraAnswer(frame=number, error=str(as_refused(error)))
        self._gateway.metrics.detect_seconds.observe(recognition.detect_s)
        self._gateway.metrics.infer_seconds.observe(recognition.infer_s)
        tracked = self._tracker.update(recognition.faces, time.monotonic())
        return CameraAnswer(
            frame=number,
            width=recognition.width,
            height=recognition.height,
            faces=[CameraFaceAnswer(**records.face_record(face.recognized), track=face.track) for face in tracked],
            detector=recognition.detector,
        )
