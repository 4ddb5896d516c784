"""What the watcher decides; the integration tests show what it does to a real server.

The server here is a fake: that a start fails five times in a row cannot be brought about quickly with a real one.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from mien.contract import EMOTION
from serving import watcher
from serving.errors import ControlError, ServerStartError
from serving.watcher import Watcher


class FakeServer:
    """Alive or not as a test says; counts restarts."""

    runs_stubs = False
    process_id = 0
    endpoint = "127.0.0.1:1"

    def __init__(self, control: object = None, *, alive: bool = True, restart_works: bool = True) -> None:
        self.settings = SimpleNamespace(watch_interval_s=0.001, health_interval_s=0.001, ensembles=[EMOTION])
        self.is_alive = alive
        self.restarts = 0
        self.stopped = False
        self._restart_works = restart_works
        self._control = control

    def control(self) -> nullcontext[object]:
        return nullcontext(self._control)

    def restart(self) -> None:
        self.restarts += 1
        if not self._restart_works:
            raise ServerStartError("no room on the disk")
        self.is_alive = True

    def stop(self) -> None:
        self.stopped = True

    def log_tail(self) -> str:
        return "the end of the log"


class FakeControl:
    """Refuses every health inference; others are answered if `busy`."""

    def __init__(self, *, busy: bool, stop: threading.Event) -> None:
        self.calls = 0
        self._busy = busy
        self._stop = stop

    def infer_zeros(self, model: object, timeout_s: float) -> int:
        self.calls += 1
        if self.calls == 6:
            self._stop.set()
        raise ControlError("no answer came in time")

    def successes(self, model: str) -> int:
        return self.calls if self._busy else 0


@pytest.fixture(autouse=True)
def _no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_BACK_OFF_S", 0.001)


def test_server_that_never_comes_back_is_given_up_with_its_log() -> None:
    server = FakeServer(alive=False, restart_works=False)
    with pytest.raises(ServerStartError, match=r"(?s)failed 5 times in a row.*no room on the disk.*end of the log"):
        Watcher(server).run(threading.Event())
    assert server.restarts == 5
    assert server.stopped


def test_silent_server_is_restarted() -> None:
    stop = threading.Event()
    server = FakeServer(FakeControl(busy=False, stop=stop))
    Watcher(server).run(stop)
    assert server.restarts >= 1


def test_busy_server_is_left_alone() -> None:
    stop = threading.Event()
    server = FakeServer(FakeControl(busy=True, stop=stop))
    Watcher(server).run(stop)
    assert server.restarts == 0
