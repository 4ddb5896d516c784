"""Locust as a process of its own: started, followed and ended, whatever happens to either side."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from loadtest.errors import LoadTestError
from loadtest.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.plan import LoadPlan

LOCUSTFILE = Path(__file__).resolve().parent / "locustfile.py"
CHECKOUT = LOCUSTFILE.parent.parent

USER_CLASSES = {"grpc": "GrpcUser", "pipeline": "PipelineUser", "rest": "RestUser", "speech": "SpeechUser"}

LIFELINE = "MIEN_LOADTEST_LIFELINE"
"""Variable that tells Locust's processes which pipe closes when the command has died."""

EXIT_S = 20.0
"""How long Locust may take to end once its last call has; then it is killed."""

_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where Locust's workers are.

    Attributes:
        processes: so many here, forked by the master; 1 means that there is neither master nor worker.
        master: whether to wait for the plan's workers from other machines instead.
        bind_host: address that the master listens on.
        bind_port: and its port; 0 takes a free one.
    """

    processes: int = 1
    master: bool = False
    bind_host: str = "127.0.0.1"
    bind_port: int = 0

    def arguments(self, workers: int) -> list[str]:
        """Options of Locust."""
        if self.processes == 1 and not self.master:
            return []
        port = str(self.bind_port or _free_port(self.bind_host))
        listen = ["--master-bind-host", self.bind_host, "--master-bind-port", port]
        if self.master:
            return ["--master", "--expect-workers", str(workers), *listen]
        return ["--processes", str(self.processes), "--master-port", port, *listen]


def generate(
    plan: LoadPlan,
    *,
    distribution: Distribution | None = None,
    environment: dict[str, str] | None = None,
    on_progress: Callable[[int, int], None] = lambda _answered, _failed: None,
) -> tuple[Record, bool]:
    """Do what `plan` says.

    Args:
        plan: the load test.
        distribution: over which processes; by default one.
        environment: added to this process's: where the servers are.
        on_progress: gets the calls answered and failed so far, about once a second.

    Returns:
        what the callers have seen, and whether a Ctrl-C ended the test early.

    Raises:
        LoadTestError: Locust could not do it.
        KeyboardInterrupt: a Ctrl-C came before the test had begun.
    """
    distribution = distribution or Distribution()
    with tempfile.TemporaryDirectory(prefix="mien-loadtest-") as folder:
        result, log = Path(folder, "record.json"), Path(folder, "locust.log")
        arguments = [
            *("--headless", "--only-summary", "--loglevel", "WARNING"),
            *("--plan", plan.model_dump_json(), "--result", str(result)),
            *("--stop-timeout", f"{math.ceil(plan.deadline_s)}s"),
            *distribution.arguments(plan.workers),
            *(USER_CLASSES[kind] for kind in plan.users),
        ]
        interrupted = False
        with log.open("wb") as log_file, _running(arguments, environment or {}, log_file) as process:
            try:
                _follow(process, on_progress)
            except KeyboardInterrupt:
                interrupted = True
                process.send_signal(signal.SIGINT)  # while a shape runs, Locust minds no SIGTERM
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(plan.deadline_s + EXIT_S)
        try:
            return Record.from_json(json.loads(result.read_text())), interrupted
        except FileNotFoundError:
            if interrupted:  # before there was anything to tell
                raise KeyboardInterrupt from None
            tail = log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "It wrote nothing."
            raise LoadTestError(
                f"Locust ended without a result (exit code {process.returncode}). {tail.removeprefix('Error: ')}"
            ) from None


def worker_command(master_host: str, master_port: int) -> list[str]:
    """The command of a worker for a master on another machine."""
    return [*_locust(), "--worker", "--master-host", master_host, "--master-port", str(master_port), "--headless"]


def _locust() -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]


@contextlib.contextmanager
def _running(arguments: list[str], environment: dict[str, str], log: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """Locust in a session of its own, whose every process is gone afterwards.

    They hold one end of a pipe, and end by themselves when this process does and the pipe closes.
    """
    lifeline, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [*_locust(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), LIFELINE: str(lifeline)} | environment,
            pass_fds=(lifeline,),
            start_new_session=True,
            text=True,
        )
        os.close(lifeline)
        try:
            with process:
                try:
                    yield process
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.wait()
    finally:
        os.close(ours)


def _follow(process: subprocess.Popen[str], on_progress: Callable[[int, int], None]) -> None:
    """Read the lines of progress until there are no more."""
    for line in process.stdout or ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # other lines are Locust's own
            progress = json.loads(line)
            on_progress(progress["answered"], progress["failed"])


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as free:
        port: int = free.getsockname()[1]
        return port
