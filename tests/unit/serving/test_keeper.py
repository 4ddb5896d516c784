from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest

from serving import keeper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil

# Stands for tritonserver: it has a child, and it may refuse to stop.
COMMAND = "trap '{on_term}' TERM; sleep 300 & echo started; while :; do wait; done"


class Kept:
    """A keeper, its command and the command's child."""

    def __init__(self, tmp_path: Path, on_term: str) -> None:
        self.prefix = f"mien-test-{uuid.uuid4().hex}-"
        self.segment = keeper.SHARED_MEMORY / f"{self.prefix}segment"
        self.marker = tmp_path / "cleaned"
        self.log = tmp_path / "log"
        task: keeper.Task = {
            "command": ["bash", "-c", COMMAND.format(on_term=on_term)],
            "environment": {"PATH": "/usr/bin:/bin"},
            "log": str(self.log),
            "exit_timeout_s": 0.3,
            "shared_memory_prefix": self.prefix,
            "cleanup": ["touch", str(self.marker)],
        }
        self.keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.keeper.stdin
        assert self.keeper.stdout
        self.keeper.stdin.write(json.dumps(task) + "\n")
        self.keeper.stdin.flush()
        self.command = psutil.Process(int(self.keeper.stdout.readline()))

    def is_gone(self) -> bool:
        return not (self.segment.exists() or any(process.is_running() for process in self.processes))

    def ready(self) -> bool:
        self.processes = [self.command, *self.command.children()]
        return self.log.exists() and "started" in self.log.read_text() and len(self.processes) == 2


@pytest.fixture(params=["exit 0", ":"], ids=["obedient", "deaf to SIGTERM"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, wait_until: WaitUntil) -> Iterator[Kept]:
    kept = Kept(tmp_path, request.param)
    wait_until(kept.ready)
    kept.segment.touch()
    yield kept
    with kept.keeper:  # closes its pipes and waits for it
        kept.keeper.kill()
    for process in kept.processes:
        if process.is_running():
            process.kill()
    kept.segment.unlink(missing_ok=True)


def test_nothing_is_left_when_the_supervisor_lets_go(kept: Kept, wait_until: WaitUntil) -> None:
    assert kept.keeper.stdin
    kept.keeper.stdin.close()
    kept.keeper.wait(20)
    wait_until(kept.is_gone)
    assert kept.marker.exists()


def test_nothing_is_left_when_the_command_is_killed(kept: Kept, wait_until: WaitUntil) -> None:
    kept.command.send_signal(signal.SIGKILL)
    kept.keeper.wait(20)
    wait_until(kept.is_gone)
    assert kept.marker.exists()


def test_only_the_own_shared_memory_is_removed() -> None:
    own, other = (keeper.SHARED_MEMORY / f"mien-test-{uuid.uuid4().hex}-x" for _ in range(2))
    own.touch()
    other.touch()
    try:
        keeper.remove_shared_memory(own.name.removesuffix("x"))
        assert (own.exists(), other.exists()) == (False, True)
    finally:
        own.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
