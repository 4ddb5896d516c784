"""The clients against a real Triton: right answers, and what it says to wrong requests."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from mien import (
    AsyncEmotionClient,
    ClientSettings,
    EmotionClient,
    InferenceError,
    ModelNotFoundError,
    Predictions,
    RequestRejectedError,
    ServerOverloadedError,
    status,
)
from mien.contract import EMOTION, EMOTION_CLASSIFIER, EMOTION_PREPROCESS
from mien.detectors import HaarDetector
from mien.inference import CallContext, infer_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil

pytestmark = pytest.mark.integration

PORTRAIT = Path(__file__).parents[2] / "docs/portraits/astronaut.jpg"

DEADLINE_S = 60.0
"""Machines that run the tests are busy with others."""


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 96, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def settings(triton: TritonServer) -> ClientSettings:
    return ClientSettings(endpoints=triton.endpoint, deadline_s=DEADLINE_S, detector="haar")


@pytest.fixture
def client(settings: ClientSettings) -> Iterator[EmotionClient]:
    with EmotionClient(settings) as client:
        yield client


def test_gathered_calls_of_many_threads_get_their_own_rows(client: EmotionClient, settings: ClientSettings) -> None:
    faces = noise(48)
    wanted = client.classify(faces).probabilities
    found = np.zeros_like(wanted)

    def call(gathering: EmotionClient, caller: int) -> None:
        for row in range(caller, len(faces), 16):
            found[row] = gathering.classify(faces[row : row + 1]).probabilities[0]

    with EmotionClient(settings.model_copy(update={"gather": True})) as gathering:
        callers = [threading.Thread(target=call, args=(gathering, caller)) for caller in range(16)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    np.testing.assert_allclose(found, wanted, atol=1e-5)  # float32, summed in another order in batches of another size


def test_rows_are_probabilities_and_name_their_release(client: EmotionClient) -> None:
    answer = client.classify(noise(3))
    assert answer.labels == EMOTION.labels
    assert answer.probabilities.shape == (3, 7)
    np.testing.assert_allclose(answer.probabilities.sum(1), 1, rtol=1e-5)
    assert set(answer.model_versions) == {"1"}
    assert sum(answer[0].probabilities.values()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("count", [65, 130])
def test_a_split_batch_gives_what_its_faces_give_alone(client: EmotionClient, count: int) -> None:
    faces = noise(count)
    together = client.classify(faces).probabilities
    for index in (0, 63, 64, count - 1):
        # Kernels for another batch size add in another order.
        np.testing.assert_allclose(
            together[index], client.classify(faces[index : index + 1]).probabilities[0], atol=1e-5
        )


def test_both_clients_give_the_same(settings: ClientSettings, client: EmotionClient) -> None:
    async def run() -> tuple[Any, Any, bool]:
        async with AsyncEmotionClient(settings) as other:
            return await asyncio.gather(other.classify(noise(5)), other.recognize(PORTRAIT), other.is_ready())

    classified, recognized, is_ready = asyncio.run(run())
    assert is_ready
    np.testing.assert_allclose(classified.probabilities, client.classify(noise(5)).probabilities, atol=1e-5)
    (theirs,), (ours,) = recognized.faces, client.recognize(PORTRAIT).faces
    assert theirs.face == ours.face
    assert theirs.emotion.label == ours.emotion.label == "happy"


def test_faces_are_batched_over_pictures(client: EmotionClient) -> None:
    blank = np.zeros((100, 100, 3), np.uint8)
    first, second, third = client.recognize_many([PORTRAIT, blank, PORTRAIT])
    assert first.faces == third.faces
    assert second.faces == ()


def test_models_are_listed_without_a_key(client: EmotionClient) -> None:
    client.classify(noise(1))
    models = {model.name: model for model in client.models()}
    assert models["emotion"].versions == ("1",)
    assert models["emotion"].members == ((EMOTION_PREPROCESS.name, "1"), (EMOTION_CLASSIFIER.name, "1"))
    assert models["emotion"].inferences > 0
    assert models["emotion_classifier"].backend == "onnxruntime"
    assert not models["emotion_classifier_savedmodel"].is_loaded


@pytest.mark.parametrize("changed", [{"model": "emotions"}, {"model_version": "99"}])
def test_a_model_or_release_that_is_not_served_is_said(settings: ClientSettings, changed: dict[str, str]) -> None:
    values = settings.model_dump() | changed
    with EmotionClient(ClientSettings(**values)) as client, pytest.raises(ModelNotFoundError, match="mien models"):
        client.classify(noise(1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "PIXELS"),
        ("datatype", "FP32"),
        ("shape", [1, 48, 48, 1]),
        ("shape", [65, 96, 96, 3]),
        ("shape", [2, 96, 96, 3]),
    ],
)
def test_the_server_rejects_wrong_tensors_and_keeps_serving(
    settings: ClientSettings, client: EmotionClient, field: str, value: object
) -> None:
    """What the SDK would not send, a client in another language may."""
    (request,) = infer_requests(noise(1), CallContext.create(), model="emotion", version="")
    if isinstance(value, list):
        del request.inputs[0].shape[:]
        request.inputs[0].shape.extend(value)
    else:
        setattr(request.inputs[0], field, value)
    with grpc.insecure_channel(settings.endpoints[0]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=DEADLINE_S)
    error = status.translate(caught.value, endpoints=settings.endpoints, model="emotion", deadline_s=DEADLINE_S)
    assert isinstance(error, RequestRejectedError)
    assert client.is_ready()


def test_a_flood_is_answered_or_refused_and_leaves_the_server_serving(
    settings: ClientSettings, client: EmotionClient
) -> None:
    async def flood() -> list[Predictions | BaseException]:
        alone = settings.model_copy(update={"retry_attempts": 1, "deadline_s": 60.0})
        async with AsyncEmotionClient(alone) as flooding:
            calls = (flooding.classify(noise(1)) for _ in range(1_500))
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = Counter(type(outcome) for outcome in asyncio.run(flood()))
    assert outcomes.keys() == {Predictions, ServerOverloadedError}, outcomes
    assert client.is_ready()


def test_replicas_that_die_lose_no_call(make_server: MakeServer, wait_until: WaitUntil, tmp_path: Path) -> None:
    """Two servers, one killed in the middle: retries find the other."""
    first, second = make_server(tmp_path / "a"), make_server(tmp_path / "b")
    for server in (first, second):
        server.start()
        server.wait_ready()
    settings = ClientSettings(endpoints=(first.endpoint, second.endpoint), deadline_s=DEADLINE_S)
    done, errors, is_over = [0], [], threading.Event()

    def call() -> None:
        while not is_over.is_set():
            try:
                client.classify(noise(1))
                done[0] += 1
            except InferenceError as error:
                errors.append(error)

    def wait_for(calls: int) -> None:
        goal = done[0] + calls
        wait_until(lambda: done[0] >= goal or bool(errors), timeout_s=DEADLINE_S)

    with EmotionClient(settings) as client:
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for(50)
            first.stop()
            wait_for(50)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert errors == []


def test_haar_stands_in_where_yunet_is_not(client: EmotionClient) -> None:
    recognition = client.recognize(PORTRAIT)
    assert recognition.detector == HaarDetector.name
    assert recognition.faces[0].face.landmarks is None
