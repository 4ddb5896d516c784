"""Runs one command and leaves nothing of it behind: a small process between the supervisor and the server.

It is started as a file of its own with the standard library alone, and lives as long as its command. The command is
told to stop when the keeper's standard input closes, which happens when the supervisor asks for it and also when the
supervisor dies, of whatever cause. When the command has ended, of whatever cause, its process group is killed, its
shared memory removed and the clean-up command run. One line of JSON on standard input says what to do (`Task`); one
line on standard output answers with the command's process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TypedDict

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a temporary file of ours: where the kernel shows POSIX shared memory


class Task(TypedDict):
    """What a keeper is to run.

    Attributes:
        command: program and arguments.
        environment: the command's whole environment.
        log: file that gets the command's output.
        exit_timeout_s: time between asking the command to stop and killing it.
        shared_memory_prefix: beginning of the names of the command's shared memory segments.
        cleanup: a command that removes what else it may leave; empty for none.
    """

    command: list[str]
    environment: dict[str, str]
    log: str
    exit_timeout_s: float
    shared_memory_prefix: str
    cleanup: list[str]


def keep(task: Task) -> int:
    """Run the command to its end and clear up after it; gives its exit status."""
    with Path(task["log"]).open("ab") as log:
        process = subprocess.Popen(
            task["command"],
            env=task["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=_stop_when_abandoned, args=(process, task["exit_timeout_s"]), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    with contextlib.suppress(BrokenPipeError):
        print(process.pid, flush=True)
    status = process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    remove_shared_memory(task["shared_memory_prefix"])
    if task["cleanup"]:
        subprocess.run(task["cleanup"], env=task["environment"], capture_output=True, check=False)
    return status


def _stop_when_abandoned(process: subprocess.Popen[bytes], exit_timeout_s: float) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    process.terminate()
    try:
        process.wait(exit_timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()


def remove_shared_memory(prefix: str) -> None:
    """Remove every shared memory segment whose name begins with `prefix`."""
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(keep(json.loads(sys.stdin.buffer.readline())))
