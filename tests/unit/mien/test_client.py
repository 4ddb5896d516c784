from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mien import (
    AccessDeniedError,
    AsyncEmotionClient,
    ClientSettings,
    DeadlineExceededError,
    EmotionClient,
    InferenceError,
    ModelNotFoundError,
    Result,
    ServerOverloadedError,
    ServerUnavailableError,
    SettingsError,
    TensorError,
)
from tests.unit.mien.both_clients import BOTH, Run
from tests.unit.mien.scripted_triton import (
    OneFaceDetector,
    ScriptedTriton,
    Servers,
    abort,
    infer_response,
    numbered_faces,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@BOTH
@pytest.mark.parametrize("count", [0, 1, 64, 65, 128, 300])
def test_batches_over_64_are_split_and_keep_their_order(scripted: ScriptedTriton, run: Run, count: int) -> None:
    answer = run(ClientSettings(endpoints=scripted.endpoint), numbered_faces(count))

    assert answer.probabilities.shape == (count, 7)
    assert answer.probabilities.argmax(1).tolist() == [index % 7 for index in range(count)]
    assert answer.model_versions == ("3",) * count
    assert sorted(request.inputs[0].shape[0] for request, _ in scripted.requests) == sorted(
        [64] * (count // 64) + [count % 64] * (count % 64 > 0)
    )


@BOTH
@pytest.mark.parametrize(
    ("faces", "said"),
    [
        (np.zeros((1, 96, 96, 3), np.float32), "float32"),
        (np.full((1, 96, 96, 3), np.nan), "float64"),
        (np.zeros((96, 96, 3), np.uint8), r"\(96, 96, 3\)"),
        (np.zeros((1, 48, 48, 1), np.uint8), r"\(1, 48, 48, 1\)"),
        ([[1]], "list"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_before_it_is_sent(
    scripted: ScriptedTriton, run: Run, faces: object, said: str
) -> None:
    with pytest.raises(TensorError, match=said):
        run(ClientSettings(endpoints=scripted.endpoint), faces)
    assert scripted.requests == []


def test_faces_in_another_memory_order_are_sent_right(scripted: ScriptedTriton) -> None:
    faces = np.asfortranarray(numbered_faces(5))[::-1]
    with EmotionClient(scripted.endpoint) as client:
        assert client.classify(faces).probabilities.argmax(1).tolist() == [4, 3, 2, 1, 0]


@BOTH
def test_a_failure_that_passes_is_retried(scripted: ScriptedTriton, run: Run) -> None:
    failures = iter([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND])

    def fail_twice(request: object, context: grpc.ServicerContext) -> None:
        if code := next(failures, None):
            context.abort(code, "for a moment")

    scripted.script = fail_twice
    # A full batch: a request over gRPC's own retry buffer of 256 KiB would not be sent again.
    answer = run(ClientSettings(endpoints=scripted.endpoint), numbered_faces(64))
    assert len(answer) == 64
    assert len(scripted.requests) == 3


@BOTH
def test_retries_end_with_the_attempts(scripted: ScriptedTriton, run: Run) -> None:
    scripted.script = abort(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(ServerUnavailableError, match="as the script says"):
        run(ClientSettings(endpoints=scripted.endpoint, retry_attempts=2), numbered_faces(1))
    assert len(scripted.requests) == 2


@BOTH
def test_what_would_fail_again_is_not_retried(scripted: ScriptedTriton, run: Run) -> None:
    scripted.script = abort(grpc.StatusCode.INTERNAL)
    with pytest.raises(InferenceError):
        run(ClientSettings(endpoints=scripted.endpoint), numbered_faces(1))
    assert len(scripted.requests) == 1


@BOTH
def test_the_deadline_holds_for_retries_and_all_requests_together(scripted: ScriptedTriton, run: Run) -> None:
    over = threading.Event()
    scripted.script = lambda request, context: (over.wait(0.2), None)[1]
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"0\.5 s"):
        run(ClientSettings(endpoints=scripted.endpoint, deadline_s=0.5), numbered_faces(64 * 40))
    assert time.monotonic() - started < 5  # forty requests of 0.2 s, four at once, would be 2 s; the limit is generous
    over.set()
    assert len(scripted.requests) < 40


@BOTH
def test_an_absent_server_is_a_sentence_with_its_address(run: Run) -> None:
    with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:1;"):
        run(ClientSettings(endpoints="127.0.0.1:1"), numbered_faces(1))


@BOTH
def test_a_full_queue_is_an_overload(scripted: ScriptedTriton, run: Run) -> None:
    scripted.script = abort(grpc.StatusCode.UNAVAILABLE, "[request id: 1] Exceeds maximum queue size")
    with pytest.raises(ServerOverloadedError):
        run(ClientSettings(endpoints=scripted.endpoint, retry_attempts=1), numbered_faces(1))


def test_calls_go_round_robin_over_all_endpoints(servers: Servers) -> None:
    first, second = servers.start(), servers.start()
    settings = ClientSettings(endpoints=(first.endpoint, second.endpoint))
    with EmotionClient(settings) as client:
        # Both connections are made at once, but one is ready before the other.
        deadline = time.monotonic() + 10
        while not (first.requests and second.requests):
            assert time.monotonic() < deadline
            client.classify(numbered_faces(1))
        before = len(first.requests), len(second.requests)
        for _ in range(10):
            client.classify(numbered_faces(1))
    assert (len(first.requests) - before[0], len(second.requests) - before[1]) == (5, 5)


def test_one_of_two_servers_may_be_absent(servers: Servers) -> None:
    alive = servers.start()
    with EmotionClient(ClientSettings(endpoints=("127.0.0.1:1", alive.endpoint))) as client:
        assert len(client.classify(numbered_faces(1))) == 1


def test_a_name_may_stand_for_the_servers(scripted: ScriptedTriton) -> None:
    port = scripted.endpoint.rpartition(":")[2]
    with EmotionClient(f"dns:///localhost:{port}") as client:
        assert client.is_ready()


def test_request_id_and_trace_context_travel_as_metadata(scripted: ScriptedTriton) -> None:
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with EmotionClient(scripted.endpoint) as client, trace.use_span(span):
        answer = client.classify(numbered_faces(1), request_id="order-7")
    ((request, metadata),) = scripted.requests
    assert answer.request_id == request.id == metadata["x-request-id"] == "order-7"
    assert metadata["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_the_queue_timeout_comes_from_the_deadline(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        client.classify(numbered_faces(1), deadline_s=2)
    ((request, _),) = scripted.requests
    assert 0 < request.parameters["timeout"].int64_param <= 2_000_000


def test_a_request_id_that_no_header_can_hold_is_refused(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client, pytest.raises(SettingsError, match="request id"):
        client.classify(numbered_faces(1), request_id="line\nbreak")


def test_the_hook_gets_each_result(scripted: ScriptedTriton) -> None:
    results: list[Result] = []
    with EmotionClient(scripted.endpoint, detector=OneFaceDetector(), on_result=results.append) as client:
        client.recognize_many([np.full((50, 40, 3), level, np.uint8) for level in (3, 4)], request_id="abc")
    assert [result.label for result in results] == ["happy", "sad"]
    assert {(result.ensemble, result.model_version, result.request_id) for result in results} == {
        ("emotion", "3", "abc")
    }
    assert all(result.detect_s > 0 and result.infer_s > 0 and result.confidence == 1 for result in results)


def test_a_hook_that_fails_is_logged_and_harms_no_call(
    scripted: ScriptedTriton, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(result: Result) -> None:
        raise RuntimeError("the counter is full")

    with EmotionClient(scripted.endpoint, on_result=broken) as client, caplog.at_level(logging.ERROR):
        assert len(client.classify(numbered_faces(2))) == 2
    assert "the counter is full" in caplog.text


def test_a_picture_without_faces_asks_no_server() -> None:
    class Blind:
        name = "blind"

        def detect(self, picture: NDArray[np.uint8]) -> list[Any]:
            return []

    with EmotionClient("127.0.0.1:1", detector=Blind()) as client:
        recognition = client.recognize(np.zeros((20, 30, 3), np.uint8))
    assert (recognition.width, recognition.height, recognition.faces) == (30, 20, ())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((1, 5), np.float32), "another contract"),
        (np.zeros((2, 7), np.float32), "another contract"),
        (np.full((1, 7), np.nan, np.float32), "not finite"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_an_error(
    scripted: ScriptedTriton, monkeypatch: pytest.MonkeyPatch, rows: NDArray[np.float32], said: str
) -> None:
    monkeypatch.setattr(ScriptedTriton, "ModelInfer", lambda self, request, context: infer_response(rows))
    # Registered methods are looked up when the server starts, so this one starts afterwards.
    servers = Servers()
    with servers.stack:
        changed = servers.start()
        with EmotionClient(changed.endpoint) as client, pytest.raises(InferenceError, match=said):
            client.classify(numbered_faces(1))


def test_ready_means_a_real_inference(scripted: ScriptedTriton) -> None:
    with EmotionClient(scripted.endpoint) as client:
        assert client.is_ready()
        scripted.script = abort(grpc.StatusCode.INTERNAL, "the stub process is not healthy")
        assert not client.is_ready()


def test_threads_share_a_client(scripted: ScriptedTriton) -> None:
    wrong: list[int] = []
    with EmotionClient(scripted.endpoint) as client:

        def call(count: int) -> None:
            answer = client.classify(numbered_faces(count))
            if answer.probabilities.argmax(1).tolist() != [index % 7 for index in range(count)]:
                wrong.append(count)

        threads = [threading.Thread(target=call, args=(count,)) for count in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_closed_client_says_so(scripted: ScriptedTriton) -> None:
    client = EmotionClient(scripted.endpoint)
    client.close()
    with pytest.raises(InferenceError, match="closed"):
        client.classify(numbered_faces(1))


async def test_a_closed_async_client_says_so(scripted: ScriptedTriton) -> None:
    client = AsyncEmotionClient(scripted.endpoint)
    await client.close()
    with pytest.raises(InferenceError, match="closed"):
        await client.classify(numbered_faces(1))


def test_closing_ends_the_calls_under_way(scripted: ScriptedTriton) -> None:
    arrived, release = threading.Event(), threading.Event()
    scripted.script = lambda request, context: (arrived.set(), release.wait(10), None)[2]
    client = EmotionClient(scripted.endpoint)
    errors: list[Exception] = []

    def call() -> None:
        try:
            client.classify(numbered_faces(1))
        except InferenceError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert arrived.wait(10)
    client.close()
    thread.join(10)
    release.set()
    assert len(errors) == 1


async def test_a_cancelled_task_cancels_its_requests(scripted: ScriptedTriton) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def wait_for_the_end(request: object, context: grpc.ServicerContext) -> None:
        context.add_callback(gone.set)
        arrived.set()
        gone.wait(10)

    scripted.script = wait_for_the_end
    async with AsyncEmotionClient(scripted.endpoint) as client:
        task = asyncio.create_task(client.classify(numbered_faces(1)))
        assert await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(gone.wait, 10)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'x' is not found", ModelNotFoundError),
        (grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'key'", AccessDeniedError),
    ],
)
def test_what_the_server_says_decides_the_error(
    scripted: ScriptedTriton, code: grpc.StatusCode, details: str, kind: type[InferenceError]
) -> None:
    scripted.script = abort(code, details)
    settings = ClientSettings(endpoints=scripted.endpoint, model="x", retry_attempts=1)
    with EmotionClient(settings) as client, pytest.raises(kind, match=r"restricted|'x'") as caught:
        client.classify(numbered_faces(1))
    assert isinstance(caught.value.__cause__, grpc.RpcError)
