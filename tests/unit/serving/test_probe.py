"""What the probe says, and when it asks; `tests/integration/test_replicas.py` has it ask a real Triton.

The server here is a fake: a real one cannot be had busy, silent or loading just when a test wants it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION
from mien.errors import SettingsError
from serving import probe
from serving.errors import ControlError
from serving.probe import Probe, ProbeSettings, main
from serving.settings import settings_from_environment

if TYPE_CHECKING:
    from tests.conftest import WaitUntil


class FakeControl:
    """Answers as it is set; `visits` is how often somebody else is answered before they have all left."""

    def __init__(self) -> None:
        self.answers = self.ready = True
        self.visits = 0
        self.answered = 0
        self.inferences = 0

    def infer_zeros(self, model: object, timeout_s: float) -> int:
        self.inferences += 1
        if not self.answers:
            raise ControlError("no answer came in time")
        return 1

    def is_ready(self, model: str, timeout_s: float) -> bool:
        return self.ready

    def successes(self, model: str) -> int:
        if self.visits:
            self.visits -= 1
            self.answered += 1
        return self.answered


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def asked(control: FakeControl, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A probe whose answers never get old, nor take long."""
    monkeypatch.setattr(probe, "_FRESH_S", 0.0)
    monkeypatch.setattr(probe, "_LOOK_S", 0.01)
    return Probe(control, ProbeSettings(quiet_s=0.1, drain_s=30), [EMOTION])  # type: ignore[arg-type]


def test_a_server_that_answers_is_live_and_a_silent_one_is_not(asked: Probe, control: FakeControl) -> None:
    assert asked.live() == ""
    control.answers = False
    assert "no answer came in time" in asked.live()


def test_a_busy_server_that_answers_others_is_live(asked: Probe, control: FakeControl) -> None:
    control.answers, control.visits = False, 2
    assert asked.live() == ""
    assert asked.live() == ""
    assert asked.live() != ""


def test_readiness_is_that_of_the_ensemble(asked: Probe, control: FakeControl) -> None:
    assert asked.ready() == ""
    control.ready = False
    assert asked.ready() == "emotion is not ready."


def test_many_questions_at_once_are_one_inference(control: FakeControl) -> None:
    one = Probe(control, ProbeSettings(), [EMOTION])  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: one.live(), range(100))) == {""}
    assert control.inferences == 1


def test_draining_waits_for_silence_and_is_not_ready_meanwhile(
    asked: Probe, control: FakeControl, wait_until: WaitUntil
) -> None:
    control.visits = 10**9
    thread = threading.Thread(target=asked.drain)
    thread.start()
    wait_until(lambda: asked.ready() == "It is being drained.")
    control.answers = False
    assert asked.live() == "", "a liveness probe must not cut a drain short"
    control.visits = 0
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert asked.ready() == ""


def test_draining_does_not_wait_for_ever(asked: Probe, control: FakeControl) -> None:
    control.visits = 10**9
    impatient = Probe(control, ProbeSettings(quiet_s=60, drain_s=0.05), [EMOTION])  # type: ignore[arg-type]
    assert impatient.drain() == ""


def test_settings_that_make_no_sense_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_PROBE_PORT", "http")
    with pytest.raises(SettingsError, match="MIEN_PROBE_PORT is 'http'"):
        settings_from_environment(ProbeSettings)
    assert main([]) == SettingsError.exit_code
    assert "MIEN_PROBE_PORT" in capsys.readouterr().err
