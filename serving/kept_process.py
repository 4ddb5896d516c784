"""A process that leaves nothing behind: started through a keeper (`serving.keeper`), ended with all its children."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from serving import keeper

if TYPE_CHECKING:
    from serving.keeper import Task

_KEEPER_MARGIN_S = 5.0


class KeptProcess:
    """One run of a command; it ends when `stop` is called, and also when this process dies, of whatever cause.

    Args:
        task: what to run. The log of an earlier run is kept beside its log as ``<name>.1``.

    Attributes:
        process_id: of the command; 0 if it could not be started, and the log says why.
    """

    def __init__(self, task: Task) -> None:
        self._exit_timeout_s = task["exit_timeout_s"]
        log = Path(task["log"])
        _rotate(log)
        self._keeper = _start_keeper(task, log)
        answer = self._keeper.stdout.readline() if self._keeper.stdout else ""
        self.process_id = int(answer or 0)

    @property
    def is_alive(self) -> bool:
        """Whether the command runs."""
        return self._keeper.poll() is None

    def stop(self) -> None:
        """Ask the command to stop, wait for it, and kill what does not end in its time."""
        with contextlib.suppress(OSError):
            if self._keeper.stdin:
                self._keeper.stdin.close()
        try:
            self._keeper.wait(self._exit_timeout_s + _KEEPER_MARGIN_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.stdout:
            self._keeper.stdout.close()


def _start_keeper(task: Task, log_path: Path) -> subprocess.Popen[str]:
    with log_path.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    if process.stdin:
        # By the pipe and not by the command line, which other users may read: the environment is in it.
        process.stdin.write(f"{json.dumps(task)}\n")
        process.stdin.flush()
    return process


def _rotate(path: Path) -> None:
    """Keep the log of the run before as ``<name>.1``."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.1"))
    path.touch(mode=0o600)
