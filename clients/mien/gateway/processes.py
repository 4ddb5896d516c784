"""Processes that may die: each does one call after the other over a pipe of its own, and is replaced when it fails.

A worker that is killed, runs out of memory or hangs takes its one call along and nothing else: no other worker reads
its pipe, and what was asked of it is never in another answer.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import threading
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from mien.errors import MediaError, MediaTooLargeError, MienError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
"""A worker imports OpenCV and loads the detector; machines may be busy."""

REST_AFTER_S = 1.0
"""A worker that is not called this long rests. Sooner, a steady load would pay for memory that it needs again."""

_CONTEXT = multiprocessing.get_context("forkserver")


def preload(*modules: str) -> None:
    """Import `modules` where worker processes are forked from, so that one that died is replaced at once.

    It counts for the whole process, and before its first worker.
    """
    _CONTEXT.set_forkserver_preload([__name__, *modules])


class Worked(Protocol):
    """What a worker process holds; beside `rest` it has methods to call."""

    def rest(self) -> None:
        """Give back what is only worth keeping while there is work."""


class WorkerDiedError(MienError):
    """A worker process ended in the middle of a call."""


class WorkerProcess:
    """A process that holds one object and calls its methods.

    It starts with the first call and again after it died; one thread uses it at a time, any may `kill` it.

    Args:
        create: makes the object, in the process; can be pickled.
    """

    def __init__(self, create: Callable[[], Worked]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._is_closed = False
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if one was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process unless it runs.

        Raises:
            MienError: what making the object raised.
            WorkerDiedError: the process ended before the object was made.
            TimeoutError: that took longer than `START_TIMEOUT_S`.
        """
        with self._lock:
            self._running()

    def call(self, method: str, *arguments: object, timeout_s: float) -> Any:  # noqa: ANN401 (what the method returns)
        """Call a method of the object.

        Raises:
            MienError: what the method raised.
            WorkerDiedError: the process died, or was killed.
            TimeoutError: it took longer than `timeout_s`, and was killed.
        """
        with self._lock:
            try:
                self._running().send((method, arguments))
            except OSError:  # it died since it was looked at, and not of this call
                self._end()
                self._running().send((method, arguments))
            return self._receive(timeout_s)

    def kill(self) -> None:
        """End the process; a call under way raises WorkerDiedError. The next call starts another."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process for good."""
        self._is_closed = True
        self.kill()
        with self._lock:
            self._end()

    def _running(self) -> Connection:
        """The pipe to the process, which is started if it does not run."""
        if self._is_closed:
            raise WorkerDiedError("The worker was closed.")
        if self._process is not None and self._connection is not None and self._process.is_alive():
            return self._connection
        self._end()
        ours, theirs = _CONTEXT.Pipe()
        self._connection = ours
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, self._create), name="mien-worker", daemon=True)
        self._process.start()
        theirs.close()
        self._receive(START_TIMEOUT_S)
        return ours

    def _receive(self, timeout_s: float) -> Any:  # noqa: ANN401 (what a method returned)
        if self._connection is None:
            raise WorkerDiedError("The worker has not been started.")
        try:
            message = self._connection.recv() if self._connection.poll(timeout_s) else None
        except (EOFError, OSError) as error:
            code = self._end()
            raise WorkerDiedError(f"The worker process died with exit code {code}.") from error
        if message is None:
            self._end()
            raise TimeoutError(f"The worker took longer than {timeout_s:g} s.")
        is_good, outcome = message
        if not is_good:
            raise outcome
        return outcome

    def _end(self) -> int | None:
        """End the process and close its pipe; returns its exit code."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is None or process.pid is None:
            return None
        process.kill()
        process.join()
        return process.exitcode


def _serve(connection: Connection, create: Callable[[], Worked]) -> None:
    """The process: make the object, then call its methods until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to everybody; the gateway decides when to end
    try:
        target = create()
    except MienError as error:
        connection.send((False, error))
        return
    connection.send((True, None))
    with contextlib.suppress(EOFError, OSError):  # the gateway has gone
        while True:
            method, arguments = connection.recv()
            connection.send(_outcome(target, method, arguments))
            del arguments
            if not connection.poll(REST_AFTER_S):
                target.rest()


def _outcome(target: Worked, method: str, arguments: tuple[object, ...]) -> tuple[bool, object]:
    try:
        return True, getattr(target, method)(*arguments)
    except MienError as error:
        return False, error
    except MemoryError:
        return False, MediaTooLargeError("The file needs more memory to decode than is allowed; make it smaller.")
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            return False, MediaTooLargeError("The file needs more memory to decode than is allowed; make it smaller.")
        return False, MediaError("The file cannot be decoded.")
    except Exception as error:  # noqa: BLE001 (whatever a damaged file does must not end the process)
        return False, MediaError(f"The file cannot be decoded ({type(error).__name__}).")
