"""An object for worker processes that does to them what damaged files may do."""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import MediaError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_BYTES = 512 * 2**20


class Worker:
    """Does what its methods are called."""

    def __init__(self) -> None:
        self._calls = 0

    def rest(self) -> None:
        self._calls = 0

    def count(self) -> int:
        self._calls += 1
        return self._calls

    def pid(self) -> int:
        return os.getpid()

    def refuse(self) -> None:
        raise MediaError("no")

    def fail(self) -> None:
        raise ZeroDivisionError

    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def crash_once(self, marker: Path) -> int:
        if not marker.exists():
            marker.touch()
            self.crash()
        return os.getpid()

    def hang(self) -> None:
        time.sleep(3600)

    def eat(self) -> int:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        return np.ones(MEMORY_BYTES, np.uint8).size


class Unstartable(Worker):
    """Fails to be made."""

    def __init__(self) -> None:
        raise SettingsError("cannot be made")
