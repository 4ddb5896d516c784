from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import grpc
import numpy as np
import pytest

from mien import (
    AsyncEmotionClient,
    ClientSettings,
    DeadlineExceededError,
    EmotionClient,
    InferenceError,
    ServerOverloadedError,
)
from mien.contract import EMOTION_LABELS
from tests.unit.mien.scripted_triton import abort, infer_response, numbered_faces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from tritonclient.grpc import service_pb2

    from mien import Predictions
    from tests.unit.mien.scripted_triton import ScriptedTriton

PATIENCE_S = 20


class Callers(Protocol):
    """Many callers of one client; each call is under way when `start` returns, or soon after."""

    def start(self, faces: NDArray[np.uint8], deadline_s: float | None = None) -> Future[Predictions]: ...


class Threads:
    def __init__(self, client: EmotionClient) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(80)

    def start(self, faces: NDArray[np.uint8], deadline_s: float | None = None) -> Future[Predictions]:
        return self._pool.submit(self._client.classify, faces, deadline_s=deadline_s)


class Tasks:
    def __init__(self, client: AsyncEmotionClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def start(self, faces: NDArray[np.uint8], deadline_s: float | None = None) -> Future[Predictions]:
        return asyncio.run_coroutine_threadsafe(self._client.classify(faces, deadline_s=deadline_s), self._loop)


@contextmanager
def threads(settings: ClientSettings) -> Iterator[Callers]:
    with EmotionClient(settings) as client:
        yield Threads(client)


@contextmanager
def tasks(settings: ClientSettings) -> Iterator[Callers]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    client = AsyncEmotionClient(settings)
    try:
        yield Tasks(client, loop)
    finally:
        asyncio.run_coroutine_threadsafe(client.close(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(params=[threads, tasks])
def callers(request: pytest.FixtureRequest, scripted: ScriptedTriton) -> Iterator[Callers]:
    with request.param(ClientSettings(endpoints=scripted.endpoint, gather=True)) as started:
        yield started


class Gate:
    """Keeps the server's answers back until it is opened."""

    def __init__(self, scripted: ScriptedTriton) -> None:
        self._scripted = scripted
        self._open = threading.Event()
        self.sizes: list[int] = []
        self._came = threading.Condition()
        scripted.script = self._hold

    def _hold(self, request: service_pb2.ModelInferRequest, _context: grpc.ServicerContext) -> None:
        with self._came:
            self.sizes.append(request.inputs[0].shape[0])
            self._came.notify_all()
        assert self._open.wait(PATIENCE_S)

    def wait_for(self, requests: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.sizes) >= requests, PATIENCE_S)

    def open(self) -> None:
        self._open.set()


def labels(calls: list[Future[Predictions]]) -> list[str]:
    return [call.result(PATIENCE_S)[0].label for call in calls]


def face(number: int) -> NDArray[np.uint8]:
    return numbered_faces(7)[number % 7 : number % 7 + 1]


def fill(callers: Callers, gate: Gate) -> list[Future[Predictions]]:
    """As many calls as may be under way; they are when this returns."""
    first = [callers.start(face(0)), callers.start(face(1))]
    gate.wait_for(2)
    return first


def test_what_comes_meanwhile_goes_together_and_each_gets_its_own(callers: Callers, scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    calls = fill(callers, gate)
    calls += [callers.start(face(number)) for number in range(2, 9)]
    wait(calls, timeout=0.3)  # the others are in the queue by now; if one were late, it would only go by itself
    gate.open()
    assert labels(calls) == [EMOTION_LABELS[number % 7] for number in range(9)]
    assert gate.sizes[:2] == [1, 1]
    assert len(gate.sizes) < 9
    assert sum(gate.sizes) == 9


def test_a_lone_caller_waits_for_nobody(callers: Callers, scripted: ScriptedTriton) -> None:
    assert labels([callers.start(face(3))]) == ["happy"]
    assert [request.inputs[0].shape[0] for request, _ in scripted.requests] == [1]


def test_no_request_is_larger_than_the_server_takes(callers: Callers, scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    calls = fill(callers, gate)
    calls += [callers.start(numbered_faces(20)) for _ in range(8)]
    wait(calls, timeout=0.3)
    gate.open()
    assert [len(call.result(PATIENCE_S)) for call in calls] == [1, 1, *[20] * 8]
    assert max(gate.sizes) in {20, 40, 60}


def test_an_error_reaches_all_and_the_next_call_goes_on(callers: Callers, scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    calls = fill(callers, gate)
    calls += [callers.start(face(number)) for number in range(5)]
    wait(calls, timeout=0.3)
    scripted.script = abort(grpc.StatusCode.RESOURCE_EXHAUSTED)
    gate.open()
    for call in calls[2:]:
        with pytest.raises(ServerOverloadedError):
            call.result(PATIENCE_S)
    scripted.script = lambda request, context: None
    assert labels([callers.start(face(number)) for number in range(7)]) == list(EMOTION_LABELS)


def test_who_has_little_time_waits_no_longer_than_that(callers: Callers, scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    calls = fill(callers, gate)
    hasty, patient = callers.start(face(2), deadline_s=0.2), callers.start(face(3))
    with pytest.raises(DeadlineExceededError, match=r"0\.2 s"):
        hasty.result(PATIENCE_S)
    gate.open()
    assert labels([*calls, patient]) == ["angry", "disgust", "happy"]


def test_an_answer_of_another_size_is_an_error_for_each(callers: Callers, scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    calls = fill(callers, gate)
    others = [callers.start(face(number)) for number in range(4)]
    wait(others, timeout=0.3)
    scripted.answer = lambda request: infer_response(np.zeros((1, 7), np.float32))
    gate.open()
    wait(calls, timeout=PATIENCE_S)
    for call in others:
        with pytest.raises(InferenceError, match="to 4 items"):
            call.result(PATIENCE_S)


def test_a_cancelled_task_leaves_the_others(scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)

    async def run() -> list[str]:
        async with AsyncEmotionClient(ClientSettings(endpoints=scripted.endpoint, gather=True)) as client:
            calls = [asyncio.create_task(client.classify(face(number))) for number in range(6)]
            await asyncio.to_thread(gate.wait_for, 2)
            calls[0].cancel()
            calls[3].cancel()
            gate.open()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [
                index in {0, 3} for index in range(6)
            ]
            return [answer[0].label for answer in answers if not isinstance(answer, BaseException)]

    assert asyncio.run(run()) == [EMOTION_LABELS[number] for number in (1, 2, 4, 5)]
    assert sum(gate.sizes) == 5  # the one that was cancelled while it waited was never sent


def test_ungathered_each_call_is_a_request(scripted: ScriptedTriton) -> None:
    gate = Gate(scripted)
    with threads(ClientSettings(endpoints=scripted.endpoint)) as callers:
        calls = [callers.start(face(number)) for number in range(5)]
        gate.wait_for(5)
        gate.open()
        assert labels(calls) == list(EMOTION_LABELS[:5])
