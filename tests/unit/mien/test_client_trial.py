"""A candidate beside the release: which calls it gets, and that it can do no caller harm, whatever it does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from mien import AsyncEmotionClient, ClientSettings, Comparison, EmotionClient, Miss, Predictions, Result
from mien import trial as trials
from mien.trial import place_of
from tests.unit.mien.scripted_triton import ScriptedTriton, numbered_faces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tritonclient.grpc import service_pb2

    from tests.conftest import WaitUntil

CANDIDATE = "emotion_candidate"


def fail_candidate(code: grpc.StatusCode) -> Callable[[Any, grpc.ServicerContext], None]:
    def script(request: service_pb2.ModelInferRequest, context: grpc.ServicerContext) -> None:
        if request.model_name == CANDIDATE:
            context.abort(code, "Request for unknown model" if code is grpc.StatusCode.NOT_FOUND else "as scripted")

    return script


class Calls:
    """One client, of threads or of asyncio, and what its hooks were told."""

    def __init__(self, settings: ClientSettings, wait_until: WaitUntil, *, is_async: bool) -> None:
        self.results: list[Result] = []
        self.comparisons: list[Comparison] = []
        self.misses: list[Miss] = []
        self._settings, self._wait_until, self._is_async = settings, wait_until, is_async

    def run(self, *requests: tuple[int, str], until: Callable[[], object] = lambda: True) -> list[Predictions]:
        """Classify so many faces under that request id, one call after the other; then wait `until` something."""
        hooks: dict[str, Any] = {
            "on_result": self.results.append,
            "on_comparison": self.comparisons.append,
            "on_miss": self.misses.append,
        }

        async def run() -> list[Predictions]:
            async with AsyncEmotionClient(self._settings, **hooks) as client:
                answers = [await client.classify(numbered_faces(count), request_id=name) for count, name in requests]
                await asyncio.to_thread(self._wait_until, until)
                return answers

        if self._is_async:
            return asyncio.run(run())
        with EmotionClient(self._settings, **hooks) as client:
            answers = [client.classify(numbered_faces(count), request_id=name) for count, name in requests]
            self._wait_until(until)
            return answers


@pytest.fixture(params=[False, True], ids=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, scripted: ScriptedTriton, wait_until: WaitUntil) -> Callable[..., Calls]:
    def make(**settings: object) -> Calls:
        values = {"endpoints": scripted.endpoint, **settings}
        return Calls(ClientSettings(**values), wait_until, is_async=request.param)

    return make


def asked(scripted: ScriptedTriton) -> Counter[str]:
    return Counter(request.model_name for request, _ in scripted.requests)


def test_a_shadow_call_is_answered_by_the_release_and_compared(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    calls = client(shadow_share=1)
    (answer,) = calls.run((70, "a"), until=lambda: calls.comparisons)
    assert set(answer.model_versions) == {"3"}
    (comparison,) = calls.comparisons
    assert (comparison.ensemble, comparison.release, comparison.candidate) == ("emotion", "3", "4")
    assert comparison.request_id == "a"
    assert (comparison.faces, comparison.agreed, comparison.largest_difference) == (70, 60, 1)
    assert comparison.release_s > 0
    assert comparison.candidate_s > 0
    assert asked(scripted) == {"emotion": 2, CANDIDATE: 2}
    assert {result.ensemble for result in calls.results} == {"emotion"}


def test_a_canary_call_is_answered_by_the_candidate_and_says_so(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    calls = client(canary_share=1)
    (answer,) = calls.run((2, "a"))
    assert answer.model_versions == ("4", "4")
    assert answer.probabilities.argmax(1).tolist() == [1, 1]
    assert asked(scripted) == {CANDIDATE: 1}
    assert {(result.ensemble, result.model_version) for result in calls.results} == {(CANDIDATE, "4")}


@pytest.mark.parametrize("share", ["shadow_share", "canary_share"])
def test_where_there_is_no_candidate_it_is_asked_once_and_nothing_is_said(
    client: Callable[..., Calls], scripted: ScriptedTriton, share: str, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script = fail_candidate(grpc.StatusCode.NOT_FOUND)
    calls = client(**{share: 1})
    answers = calls.run((1, "a"), (1, "b"), until=lambda: asked(scripted)[CANDIDATE])
    assert [answer.model_versions for answer in answers] == [("3",), ("3",)]
    assert asked(scripted)["emotion"] == 2
    assert asked(scripted)[CANDIDATE] <= 2  # a second shadow call may begin before the first has its answer
    assert (calls.misses, calls.comparisons, caplog.records) == ([], [], [])


def test_a_candidate_that_comes_back_is_asked_again(
    client: Callable[..., Calls], scripted: ScriptedTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "REST_S", 0.0)
    absent = iter([True])
    scripted.script = lambda request, context: (
        context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model") if next(absent, False) else None
    )
    first, second = client(canary_share=1).run((1, "a"), (1, "b"))
    assert (first.model_versions, second.model_versions) == (("3",), ("4",))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_a_canary_call_that_fails_is_answered_by_the_release(
    client: Callable[..., Calls], scripted: ScriptedTriton, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script = fail_candidate(code)
    calls = client(canary_share=1)
    with caplog.at_level(logging.WARNING):
        first, second = calls.run((2, "a"), (2, "b"))
    assert first.probabilities.argmax(1).tolist() == [0, 1]
    assert second.model_versions == ("3", "3")
    assert asked(scripted) == {"emotion": 2, CANDIDATE: 1}
    assert calls.misses == [Miss("emotion", "failed", "")]
    assert "The candidate is asked nothing for 5 s" in caplog.text


def test_a_candidate_that_hangs_leaves_the_release_half_the_time(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    over = threading.Event()
    scripted.script = lambda request, context: (over.wait(30), None)[1] if request.model_name == CANDIDATE else None
    calls = client(canary_share=1, deadline_s=2.0)
    try:
        (answer,) = calls.run((1, "a"))
    finally:
        over.set()
    assert answer.model_versions == ("3",)
    assert calls.misses == [Miss("emotion", "failed", "")]


def test_a_candidate_that_hangs_holds_up_no_caller_and_no_closing(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    over = threading.Event()
    scripted.script = lambda request, context: (over.wait(30), None)[1] if request.model_name == CANDIDATE else None
    calls = client(shadow_share=1)
    try:
        # The server has eight threads; two shadow calls leave it some for the callers.
        answers = calls.run((1, "a"), (1, "b"), (1, "c"), until=lambda: asked(scripted)[CANDIDATE] >= 2)
        assert [answer.model_versions for answer in answers] == [("3",)] * 3
        assert not over.is_set()
    finally:
        over.set()
    assert (calls.comparisons, calls.misses) == ([], [])


def test_shadow_calls_over_the_limit_are_dropped_and_counted(
    scripted: ScriptedTriton, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, misses = threading.Event(), list[Miss]()
    comparisons = list[Comparison]()
    scripted.script = lambda request, context: (over.wait(30), None)[1] if request.model_name == CANDIDATE else None
    monkeypatch.setattr(trials, "SHADOWS_IN_FLIGHT", 2)
    settings = ClientSettings(endpoints=scripted.endpoint, shadow_share=1)
    with EmotionClient(settings, on_comparison=comparisons.append, on_miss=misses.append) as client:
        for _ in range(5):
            client.classify(numbered_faces(1))
        over.set()
        wait_until(lambda: len(comparisons) == 2)
        assert misses == [Miss("emotion", "dropped", "")] * 3
        client.classify(numbered_faces(1))
        wait_until(lambda: len(comparisons) == 3)


def test_a_call_that_is_made_again_falls_on_the_same_side(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    names = [f"order-{number}" for number in range(20)]
    calls = client(canary_share=0.5)
    answers = calls.run(*[(1, name) for name in names + names])
    releases = [answer.model_versions[0] for answer in answers]
    assert releases[:20] == releases[20:]
    assert set(releases) == {"3", "4"}
    assert releases[:20] == ["4" if place_of(name) < 0.5 else "3" for name in names]


def test_ids_that_are_alike_are_spread_evenly() -> None:
    places = [place_of(f"frame-{number:06}") for number in range(10_000)]
    tenths = Counter(int(place * 10) for place in places)
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) - min(tenths.values()) < 250  # 1,000 each, give or take four times 30


def test_without_faces_the_candidate_is_not_asked(client: Callable[..., Calls], scripted: ScriptedTriton) -> None:
    calls = client(canary_share=0.5, shadow_share=0.5)
    assert len(calls.run((0, "a"))[0]) == 0
    assert not scripted.requests


def test_a_release_that_is_insisted_on_is_shadowed_by_any_candidate(
    client: Callable[..., Calls], scripted: ScriptedTriton
) -> None:
    calls = client(shadow_share=1, model_version="3")
    calls.run((1, "a"), until=lambda: calls.comparisons)
    assert [request.model_version for request, _ in scripted.requests] == ["3", ""]


def test_a_hook_that_fails_is_logged(
    scripted: ScriptedTriton, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(comparison: Comparison) -> None:
        raise RuntimeError("the counter is full")

    settings = ClientSettings(endpoints=scripted.endpoint, shadow_share=1)
    with EmotionClient(settings, on_comparison=broken) as client, caplog.at_level(logging.ERROR):
        client.classify(numbered_faces(1))
        wait_until(lambda: "The hook for a Comparison failed" in caplog.text)
