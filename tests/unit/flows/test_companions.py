"""Processes beside the server: started again when they end, ended with their children."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import psutil

from flows import companions
from flows.companions import Companion

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import WaitUntil

TELLS_AND_ENDS = "import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')"
TELLS_AND_STAYS = TELLS_AND_ENDS + "; import time; time.sleep(600)"


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_one_that_ends_is_started_again_and_all_end_at_the_stop(tmp_path: Path, wait_until: WaitUntil) -> None:
    def companion(name: str, program: str) -> Companion:
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        return Companion(name, command, dict(os.environ), tmp_path / f"{name}.log")

    stop = threading.Event()
    beside = [companion("short", TELLS_AND_ENDS), companion("long", TELLS_AND_STAYS)]
    watching = threading.Thread(target=companions.run, args=(beside, stop))
    watching.start()
    try:
        wait_until(lambda: len(pids(tmp_path / "short")) == 2)
        (stays,) = pids(tmp_path / "long")
        assert psutil.pid_exists(stays)
    finally:
        stop.set()
        watching.join()
    assert not psutil.pid_exists(stays)
