"""A real candidate beside a real release, of faces and of speech: shadow and canary calls, report, promotion."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, start_http_server

from flows import release
from mien import AsyncEmotionClient, ClientSettings, Comparison, EmotionClient, InferenceError
from mien.contract import EMOTION, SPEECH_EMOTION
from mien.metrics import TrafficMetrics
from serving import ModelRepository, Promoter, PromotionError, TritonServer, publish
from tests.conftest import server_settings
from tests.releases import answers, export_variant
from training.export.golden import synthetic_faces, synthetic_speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from tests.conftest import WaitUntil

pytestmark = pytest.mark.integration

CALLS = 20
DEADLINE_S = 60.0
"""Machines that run the tests are busy with others."""


@dataclass(frozen=True)
class Modality:
    """An ensemble, eight inputs of which its candidate names some as release 1 does and some otherwise, its method."""

    ensemble: EnsembleSpec
    synthetic: Callable[[int], NDArray[Any]]
    method: str

    @property
    def inputs(self) -> NDArray[Any]:
        return self.synthetic(8)

    def classify(self, client: EmotionClient | AsyncEmotionClient) -> Any:  # noqa: ANN401 (an answer, or its awaitable)
        return getattr(client, self.method)(self.inputs)


MODALITIES = (
    Modality(EMOTION, synthetic_faces, "classify"),
    Modality(SPEECH_EMOTION, synthetic_speech, "classify_speech"),
)


def faces() -> NDArray[np.uint8]:
    return synthetic_faces(8)


@pytest.fixture(scope="module")
def server(local_triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Its repository has a release 2 of each ensemble that differs a little."""
    settings = server_settings(tmp_path_factory.mktemp("state"))
    with TritonServer(settings) as server:
        for modality in MODALITIES:
            export = tmp_path_factory.mktemp("export") / "2"
            export_variant(settings, export, favour=4, ensemble=modality.ensemble)
            publish(export, ModelRepository(settings.model_repository), modality.ensemble)
        yield server


@pytest.fixture(params=MODALITIES, ids=lambda modality: modality.ensemble.name)
def modality(request: pytest.FixtureRequest) -> Modality:
    found: Modality = request.param
    return found


@pytest.fixture
def promoter(server: TritonServer, modality: Modality) -> Iterator[Promoter]:
    """Release 1 is served and there is no candidate, before and after."""
    with server.control() as control:
        promoter = Promoter(ModelRepository(server.settings.model_repository), modality.ensemble, control)
        yield promoter
        promoter.withdraw()
        with contextlib.suppress(PromotionError):  # it is served already
            promoter.rollback(to=1)


class Service:
    """A service that calls the server, and its metrics page."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.comparisons: list[Comparison] = []
        self._metrics = TrafficMetrics(self.registry)
        self.hooks = {
            "on_result": self._metrics.count_result,
            "on_comparison": self._compare,
            "on_miss": self._metrics.count_miss,
        }

    def _compare(self, comparison: Comparison) -> None:
        self._metrics.count_comparison(comparison)
        self.comparisons.append(comparison)

    @contextlib.contextmanager
    def page(self) -> Iterator[str]:
        server, thread = start_http_server(0, "127.0.0.1", self.registry)
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def test_a_candidate_is_tried_on_live_traffic_and_then_promoted(
    server: TritonServer,
    promoter: Promoter,
    modality: Modality,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service()
    promoter.offer(2)
    repository, ensemble = server.settings.model_repository, modality.ensemble
    expected = [answers(repository, modality.inputs, number, ensemble) for number in (1, 2)]
    settings = ClientSettings(endpoints=server.endpoint, deadline_s=DEADLINE_S, shadow_share=1)

    def call_from_threads() -> None:
        with EmotionClient(settings, **service.hooks) as client:
            for number in range(1, CALLS + 1):
                assert modality.classify(client).model_versions == ("1",) * 8
                wait_until(lambda number=number: len(service.comparisons) == number)

    async def call_from_a_loop() -> None:
        async with AsyncEmotionClient(settings, **service.hooks) as client:
            answered = await asyncio.gather(*(modality.classify(client) for _ in range(4)))
            assert {answer.model_versions for answer in answered} == {("1",) * 8}
            await asyncio.to_thread(wait_until, lambda: len(service.comparisons) == CALLS + 4)

    call_from_threads()
    asyncio.run(call_from_a_loop())
    agreed = int((expected[0].argmax(1) == expected[1].argmax(1)).sum())
    assert 0 < agreed < 8
    for comparison in service.comparisons:
        assert (comparison.ensemble, comparison.release, comparison.candidate) == (ensemble.name, "1", "2")
        assert comparison.faces == 8
        assert comparison.agreed == agreed
        assert comparison.largest_difference == pytest.approx(np.abs(expected[0] - expected[1]).max(), abs=1e-4)

    def run(*arguments: str) -> int:
        try:
            return release.main([*arguments, "--ensemble", ensemble.name])
        except SystemExit as ended:
            return int(ended.code or 0)

    monkeypatch.setenv("MIEN_STATE", str(server.settings.state))
    monkeypatch.setenv("MIEN_MODEL_REPOSITORY", str(repository))
    with service.page() as url:
        monkeypatch.setenv("MIEN_TRAFFIC_URLS", url)
        assert run("trial", "--as", "json") == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["release"], report["candidate"], report["calls"]) == (1, 2, CALLS + 4)
        assert report["ensemble"] == ensemble.name
        assert (report["faces"], report["agreed"]) == (8 * (CALLS + 4), agreed * (CALLS + 4))
        assert report["candidate_latency"]["p50_ms"] > 0

        assert run("promote", "2", "--after-trial") == 7
        refusal = capsys.readouterr().err
        assert f"has not passed its trial beside release 1: {ensemble.items} (192 classified by both" in refusal
        assert ModelRepository(repository).pointer(ensemble).release == 1

        monkeypatch.setenv("MIEN_TRIAL_MIN_FACES", "100")
        monkeypatch.setenv("MIEN_TRIAL_MIN_AGREEMENT", "0")
        monkeypatch.setenv("MIEN_TRIAL_MAX_LATENCY_RATIO", "100")  # a busy machine's figures decide nothing here
        assert run("promote", "2", "--after-trial") == 0
        assert "Release 2 is served, 1 was before" in capsys.readouterr().out


@pytest.mark.parametrize("modality", MODALITIES[:1], ids=["emotion"], indirect=True)
def test_canary_calls_are_answered_by_the_candidate_while_there_is_one(
    server: TritonServer, promoter: Promoter
) -> None:
    settings = ClientSettings(endpoints=server.endpoint, deadline_s=DEADLINE_S, canary_share=0.5)
    expected = {str(number): answers(server.settings.model_repository, faces(), number) for number in (1, 2)}
    seen, wrong, over = Counter[str](), list[str](), threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                answer = client.classify(faces())
            except InferenceError as error:
                wrong.append(repr(error))
                continue
            (version,) = set(answer.model_versions)
            seen[version] += 1
            if not np.allclose(answer.probabilities, expected[version], atol=1e-5):
                wrong.append(f"an answer that says release {version} is not from it")

    with EmotionClient(settings) as client:
        promoter.offer(2)
        sides = {name: client.classify(faces(), request_id=name).model_versions[0] for name in "abcdefgh"}
        assert set(sides.values()) == {"1", "2"}
        again = {name: client.classify(faces(), request_id=name).model_versions[0] for name in "abcdefgh"}
        assert again == sides
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            promoter.withdraw()  # in the middle of their calls
            client.classify(faces())
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert client.classify(faces(), request_id="a").model_versions == ("1",) * 8

    async def call_from_a_loop() -> set[str]:
        async with AsyncEmotionClient(settings) as client:
            answered = await asyncio.gather(*(client.classify(faces(), request_id=name) for name in "abcdefgh"))
            return {version for answer in answered for version in answer.model_versions}

    assert asyncio.run(call_from_a_loop()) == {"1"}
    promoter.offer(2)
    assert asyncio.run(call_from_a_loop()) == {"1", "2"}
