"""Two ensembles on one Triton: a release of the one comes and goes under load on both, the other notices nothing."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flows import release
from mien.contract import EMOTION, SPEECH_CLASSIFIER, SPEECH_EMOTION, SPEECH_PREPROCESS
from serving import ControlError, Ledger, ModelRepository, Promoter, RepositoryError, Watcher, publish
from serving.repository import install_shipped, models_of
from serving.stubs import living_stubs
from tests.conftest import server_settings
from tests.releases import answers, export_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from serving import ServerControl, TritonServer
    from tests.conftest import MakeServer, WaitUntil

pytestmark = pytest.mark.integration

CALLERS = 2
"""Of each ensemble."""


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Iterator[TritonServer]:
    with make_server(tmp_path / "state") as server:
        yield server


@pytest.fixture
def control(server: TritonServer) -> Iterator[ServerControl]:
    with server.control() as control:
        yield control


@pytest.fixture
def repository(server: TritonServer) -> ModelRepository:
    """The server's working copy, with a release 2 of speech that has been published."""
    export = export_variant(server.settings, server.settings.state / "export", favour=2, ensemble=SPEECH_EMOTION)
    repository = ModelRepository(server.settings.model_repository)
    assert publish(export, repository, SPEECH_EMOTION).manifest.release == 2
    return repository


@pytest.fixture
def run(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command of `flows.release` beside the server; gives its exit status."""
    monkeypatch.setenv("MIEN_STATE", str(server.settings.state))
    monkeypatch.delenv("MIEN_MODEL_REPOSITORY", raising=False)

    def call(*arguments: str) -> int:
        try:
            return release.main([*arguments, "--ensemble", SPEECH_EMOTION.name])
        except SystemExit as end:  # typer ends what succeeds
            return int(end.code or 0)

    return call


def inputs(ensemble: EnsembleSpec) -> NDArray[np.generic]:
    chance = np.random.default_rng(1)
    if ensemble is EMOTION:
        return chance.integers(0, 256, (2, *ensemble.input.shape), np.uint8)
    return chance.uniform(-0.5, 0.5, (2, *ensemble.input.shape)).astype(np.float32)


class Callers:
    """What callers of one ensemble were answered while something else went on; they try nothing twice."""

    def __init__(self, repository: ModelRepository, ensemble: EnsembleSpec) -> None:
        self.wrong: list[str] = []
        self.answers: Counter[int] = Counter()
        self._ensemble = ensemble
        self._inputs = inputs(ensemble)
        self._expected = {
            number: answers(repository.path, self._inputs, number, ensemble) for number in repository.releases(ensemble)
        }

    def call(self, control: ServerControl, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                answered, number = control.infer(self._ensemble, self._inputs, timeout_s=60)
            except Exception as error:  # noqa: BLE001 - whatever it is, no caller may meet it
                self.wrong.append(repr(error))
                continue
            self.answers[number] += 1
            if not np.allclose(answered, self._expected[number], atol=1e-4):
                self.wrong.append(f"an answer that says release {number} is not wholly from it")


@contextmanager
def calling(control: ServerControl, repository: ModelRepository) -> Iterator[dict[str, Callers]]:
    """Callers of both ensembles at work inside; none may get an error or a mixed answer."""
    stop = threading.Event()
    callers = {ensemble.name: Callers(repository, ensemble) for ensemble in (EMOTION, SPEECH_EMOTION)}
    with ThreadPoolExecutor(CALLERS * len(callers)) as pool:
        for group in callers.values():
            for _ in range(CALLERS):
                pool.submit(group.call, control, stop)
        try:
            yield callers
        finally:
            stop.set()
    for name, group in callers.items():
        assert not group.wrong, name
        assert group.answers, name


def files_of(repository: ModelRepository, ensemble: EnsembleSpec) -> dict[Path, tuple[bytes, int]]:
    """Content and time of every file of an ensemble's models."""
    paths = [path for model in models_of(ensemble) for path in (repository.path / model).rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_release_of_speech_comes_and_goes_and_faces_notice_nothing(
    server: TritonServer,
    control: ServerControl,
    repository: ModelRepository,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {name: manifest.release for name, manifest in server.releases.items()} == {"emotion": 1, "speech_emotion": 1}
    faces = files_of(repository, EMOTION)
    with calling(control, repository) as callers:
        for _ in range(3):
            assert run("promote", "2", "--reason", "better") == 0
            assert run("rollback") == 0
    told = capsys.readouterr().out
    assert "Back: python -m flows.release rollback --ensemble speech_emotion" in told
    assert callers["speech_emotion"].answers.keys() == {1, 2}
    assert callers["emotion"].answers.keys() == {1}
    assert files_of(repository, EMOTION) == faces
    ledger = Ledger(repository.path)
    assert [entry.release for entry in ledger.history("speech_emotion")] == [2, 1] * 3
    assert ledger.history("emotion") == []
    answered = {name: group.answers.total() for name, group in callers.items()}
    with capsys.disabled():
        print(f" 6 swaps of speech_emotion; answered: {answered}, lost: none")
    assert run("list") == 0
    assert {"1", "2"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


def test_a_candidate_of_speech_stands_beside_both(
    control: ServerControl, repository: ModelRepository, run: Callable[..., int]
) -> None:
    with calling(control, repository):
        assert run("candidate", "2") == 0
        assert control.infer_zeros(SPEECH_EMOTION.candidate) == 2
        assert not control.is_ready(EMOTION.candidate.name)
        assert run("withdraw") == 0
    assert [control.infer_zeros(ensemble) for ensemble in (EMOTION, SPEECH_EMOTION)] == [1, 1]


def test_a_damaged_release_of_speech_is_refused_and_both_go_on(
    control: ServerControl, repository: ModelRepository, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = repository.path / SPEECH_CLASSIFIER.name / "2/model.onnx"
    with calling(control, repository) as callers:
        path.write_bytes(path.read_bytes()[:-1])
        assert run("promote", "2") == RepositoryError.exit_code
    assert f"{path} is damaged" in capsys.readouterr().err
    assert [group.answers.keys() for group in callers.values()] == [{1}, {1}]
    assert Ledger(repository.path).unfinished(SPEECH_EMOTION.name) is None


def test_a_copy_without_speech_gets_it_at_the_start_and_keeps_its_faces(
    make_server: MakeServer, tmp_path: Path
) -> None:
    settings = server_settings(tmp_path / "state")
    repository = install_shipped(ModelRepository(settings.shipped_repository), settings.model_repository)
    for model in models_of(SPEECH_EMOTION):
        shutil.rmtree(repository.path / model)
    publish(export_variant(settings, tmp_path / "export", favour=3), repository, EMOTION)
    with make_server(tmp_path / "state", ensembles="emotion") as server, server.control() as control:
        assert server.releases.keys() == {EMOTION.name}
        Promoter(repository, EMOTION, control).promote(2)
    with make_server(tmp_path / "state") as server, server.control() as control:
        assert [control.infer_zeros(ensemble) for ensemble in (EMOTION, SPEECH_EMOTION)] == [2, 1]
        assert Promoter(repository, EMOTION, control).rollback().entry.release == 1


def test_a_dead_instance_of_speech_is_healed_and_faces_are_answered_meanwhile(
    server: TritonServer, control: ServerControl, wait_until: WaitUntil
) -> None:
    stop = threading.Event()
    watching = threading.Thread(target=Watcher(server).run, args=(stop,))
    process_id = server.process_id

    def speech_is_answered() -> bool:
        assert control.infer_zeros(EMOTION) == 1
        try:
            return control.infer_zeros(SPEECH_EMOTION) == 1
        except ControlError:
            return False

    watching.start()
    try:
        (victim,) = [stub for stub in living_stubs(process_id) if stub.model == SPEECH_PREPROCESS.name]
        os.kill(victim.process_id, signal.SIGKILL)
        wait_until(lambda: not speech_is_answered())
        wait_until(speech_is_answered)
        assert server.process_id == process_id, "one model was loaded again; the server was not started again"
    finally:
        stop.set()
        watching.join()
