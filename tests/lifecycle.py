"""A server that is watched, and what it leaves behind."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from mien.contract import EMOTION
from serving import ControlError, TritonServer, Watcher
from serving.keeper import SHARED_MEMORY
from serving.record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.settings import ServingSettings


def token_of(settings: ServingSettings) -> str:
    record = read_record(settings.record_path)
    assert record is not None
    return record.token


def leftovers(token: str) -> list[str]:
    """Processes and shared memory segments of the run with that token."""
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [command for command in commands if token in command] + [
        path.name for path in SHARED_MEMORY.glob(f"{token}*")
    ]


def answers(server: TritonServer) -> bool:
    with server.control() as control:
        try:
            return control.infer_zeros(EMOTION, timeout_s=1.0) == 1
        except ControlError:
            return False


@contextmanager
def watched(server: TritonServer) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=Watcher(server).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
