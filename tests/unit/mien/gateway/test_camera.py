"""The camera's WebSocket behind a real server. No worker and no model server: what a frame shows is made up here."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from mien.contract import EMOTION_LABELS
from mien.errors import MediaError
from mien.faces import Box, Face
from mien.gateway.camera import PROTOCOL
from mien.gateway.command import server_config
from mien.gateway.keys import KeyFile
from mien.results import Emotion, Recognition, RecognizedFace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

    from tests.unit.mien.gateway.conftest import MakeApp

GOOD, DAMAGED = b"good", b"damaged"


class ScriptedRecognizer:
    """Stands for workers and model server: finds one face in each frame, when it is let."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.began = asyncio.Event()
        self.looked_at: list[bytes] = []

    async def recognize(self, content: bytes, request_id: str) -> Recognition:
        self.looked_at.append(content)
        self.began.set()
        await self.may_answer.wait()
        if content == DAMAGED:
            raise MediaError("The picture is damaged.")
        emotion = Emotion(dict.fromkeys(EMOTION_LABELS, 1 / len(EMOTION_LABELS)), "7")
        face = RecognizedFace(Face(Box(10, 10, 50, 50)), emotion)
        return Recognition(100, 80, (face,), "haar", request_id, 0.01, 0.01)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The camera's address at a server of `app`."""
    app.state.gateway.recognizer = ScriptedRecognizer()
    config = server_config(app, app.state.gateway.settings)
    config.lifespan = "off"  # it would start the workers
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/camera"
        finally:
            server.should_exit = True
            await task


def opened(address: str, *keys: str, origin: str | None = None, headers: dict[str, str] | None = None) -> connect:
    protocols = [Subprotocol(name) for name in (PROTOCOL, *keys)]
    return connect(address, subprotocols=protocols, origin=origin and Origin(origin), additional_headers=headers)


async def answer(camera: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(30):
        found: dict[str, Any] = json.loads(await camera.recv())
    return found


async def end(camera: ClientConnection) -> int | None:
    """The code that the camera is closed with."""
    async with asyncio.timeout(30):
        await camera.wait_closed()
    return camera.close_code


@pytest.fixture
def make_gateway(make_app: MakeApp) -> MakeApp:
    def make(**settings: object) -> FastAPI:
        return make_app(**{"port": 0, "camera_frames_per_second": 60} | settings)

    return make


async def test_each_frame_is_answered_with_its_faces(make_gateway: MakeApp) -> None:
    async with serving(make_gateway()) as address, opened(address) as camera:
        assert camera.subprotocol == PROTOCOL
        for number in (1, 2):
            await camera.send(GOOD)
            found = await answer(camera)
            assert (found["frame"], found["width"], found["height"]) == (number, 100, 80)
            (face,) = found["faces"]
            assert face["track"] == 1
            assert face["model_version"] == "7"
            assert list(face["probabilities"]) == list(EMOTION_LABELS)


async def test_newer_frames_replace_those_that_wait(make_gateway: MakeApp) -> None:
    app = make_gateway()
    async with serving(app) as address, opened(address) as camera:
        recognizer = app.state.gateway.recognizer
        recognizer.may_answer.clear()
        await camera.send(b"first")
        await asyncio.wait_for(recognizer.began.wait(), 30)
        for content in (b"second", b"third", b"fourth"):
            await camera.send(content)
        await asyncio.wait_for(await camera.ping(), 30)  # answered when all before it has come
        recognizer.may_answer.set()
        assert [(await answer(camera))["frame"] for _ in range(2)] == [1, 4]
        assert recognizer.looked_at == [b"first", b"fourth"]


async def test_a_frame_that_cannot_be_used_is_told_and_the_camera_goes_on(make_gateway: MakeApp) -> None:
    async with serving(make_gateway()) as address, opened(address) as camera:
        await camera.send(DAMAGED)
        found = await answer(camera)
        assert found["error"] == "The picture is damaged."
        assert found["faces"] == []
        await camera.send(GOOD)
        assert (await answer(camera))["error"] is None


async def test_while_the_gateway_is_full_frames_are_shed(make_gateway: MakeApp) -> None:
    app = make_gateway(max_in_flight=1)
    async with serving(app) as address, opened(address) as camera:
        with app.state.gateway.picture_room.taken():
            await camera.send(GOOD)
            assert "too much to do" in (await answer(camera))["error"]
        await camera.send(GOOD)
        assert (await answer(camera))["error"] is None


async def test_the_rate_of_frames_is_bounded(make_gateway: MakeApp) -> None:
    app = make_gateway(camera_frames_per_second=10)
    async with serving(app) as address, opened(address) as camera:
        started = time.monotonic()
        for _ in range(4):
            await camera.send(GOOD)
            await answer(camera)
        assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("origin", "is_taken"),
    [("http://127.0.0.1:{port}", True), (None, True), ("https://elsewhere.example", False), ("null", False)],
)
async def test_pages_from_elsewhere_get_no_socket(make_gateway: MakeApp, origin: str | None, is_taken: bool) -> None:
    async with serving(make_gateway()) as address:
        port = address.rsplit(":", 1)[1].split("/")[0]
        connection = opened(address, origin=origin and origin.format(port=port))
        if is_taken:
            async with connection as camera:
                await camera.send(GOOD)
                assert (await answer(camera))["faces"]
        else:
            with pytest.raises(InvalidStatus) as refusal:
                await connection
            assert refusal.value.response.status_code == 403


async def test_a_caller_has_few_cameras_at_once(make_gateway: MakeApp) -> None:
    async with serving(make_gateway(max_cameras_per_caller=1)) as address:
        async with opened(address) as first:
            await first.send(GOOD)
            await answer(first)
            async with opened(address) as second:
                assert "More than 1 cameras" in (await answer(second))["error"]
                assert await end(second) == 1013
        async with asyncio.timeout(30):  # until the gateway has seen that it has gone
            while True:
                async with opened(address) as third:
                    await third.send(GOOD)
                    if "faces" in await answer(third):
                        break


@pytest.mark.parametrize(
    ("setting", "words"), [("max_cameras", "too much to do"), ("cameras_per_minute", "More than 1 requests a minute")]
)
async def test_cameras_are_bounded_in_all_and_by_rate(make_gateway: MakeApp, setting: str, words: str) -> None:
    async with serving(make_gateway(**{setting: 1})) as address, opened(address) as first:
        await first.send(GOOD)
        await answer(first)
        async with opened(address) as second:
            assert words in (await answer(second))["error"]
            assert await end(second) == 1013


async def test_a_key_comes_as_a_subprotocol_or_header_and_counts_until_it_is_removed(
    make_gateway: MakeApp, tmp_path: Path
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("phone")
    async with serving(make_gateway(require_keys=True)) as address:
        for wrong, words in (((), "An API key is needed"), (("mien_no",), "not known")):
            async with opened(address, *wrong) as camera:
                assert words in (await answer(camera))["error"]
                assert await end(camera) == 1008
        async with opened(address, headers={"Authorization": f"Bearer {key}"}) as camera:
            await camera.send(GOOD)
            assert (await answer(camera))["faces"]
        async with opened(address, key) as camera:
            assert camera.subprotocol == PROTOCOL
            await camera.send(GOOD)
            assert (await answer(camera))["faces"]
            keys.remove("phone")
            await camera.send(GOOD)
            assert "not known" in (await answer(camera))["error"]
            assert await end(camera) == 1008


async def test_what_is_no_frame_ends_the_camera(make_gateway: MakeApp) -> None:
    async with serving(make_gateway(max_camera_frame_bytes=1000)) as address:
        async with opened(address) as camera:
            await camera.send("a text")
            assert "binary message" in (await answer(camera))["error"]
            assert await end(camera) == 1008
        async with opened(address) as camera:
            await camera.send(b"x" * 1001)
            with pytest.raises(ConnectionClosed):
                await answer(camera)
            assert await end(camera) == 1009


async def test_a_silent_camera_is_closed(make_gateway: MakeApp) -> None:
    async with serving(make_gateway(camera_idle_s=0.05)) as address, opened(address) as camera:
        assert "No frame came for 0.05 s" in (await answer(camera))["error"]
        assert await end(camera) == 1008
