"""Real processes."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

from mien import ClientSettings
from mien.errors import MediaError, MediaTooLargeError, SettingsError
from mien.gateway.decoding import Decoder, WorkerLimits
from mien.gateway.processes import WorkerDiedError, WorkerProcess, preload
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.workers import Workers
from tests.unit.mien.gateway.scripted_worker import Unstartable, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil

ENOUGH_S = 60.0
"""Machines that run the tests are busy with others."""


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    preload(Worker.__module__)
    worker = WorkerProcess(Worker)
    yield worker
    worker.close()


def test_an_object_lives_as_long_as_its_process(worker: WorkerProcess) -> None:
    first = worker.call("count", timeout_s=ENOUGH_S)
    assert worker.call("count", timeout_s=ENOUGH_S) == first + 1
    assert worker.call("pid", timeout_s=ENOUGH_S) == worker.pid != os.getpid()


@pytest.mark.parametrize(("method", "error"), [("refuse", MediaError), ("fail", MediaError)])
def test_an_error_leaves_the_process_alive(worker: WorkerProcess, method: str, error: type[Exception]) -> None:
    pid = worker.call("pid", timeout_s=ENOUGH_S)
    with pytest.raises(error):
        worker.call(method, timeout_s=ENOUGH_S)
    assert worker.call("pid", timeout_s=ENOUGH_S) == pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux heeds RLIMIT_DATA for all memory")
def test_memory_beyond_the_limit_is_refused(worker: WorkerProcess) -> None:
    with pytest.raises(MediaTooLargeError, match="memory"):
        worker.call("eat", timeout_s=ENOUGH_S)
    assert worker.call("count", timeout_s=ENOUGH_S) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library decides what it keeps")
def test_a_worker_without_work_gives_its_memory_back(wait_until: WaitUntil) -> None:
    large = io.BytesIO()
    Image.new("1", (6000, 6000)).save(large, "PNG")
    worker = WorkerProcess(partial(Decoder, ClientSettings(detector="haar"), WorkerLimits(2**30, max_faces=1)))

    def memory_mib() -> float:
        return float(psutil.Process(worker.pid).memory_full_info().uss / 2**20)

    try:
        worker.start()
        before = memory_mib()
        assert worker.call("locate", large.getvalue(), timeout_s=ENOUGH_S).width == 6000
        wait_until(lambda: memory_mib() < before + 40)
    finally:
        worker.close()


def test_a_process_that_crashes_or_hangs_is_replaced(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerDiedError, match="-11"):
        worker.call("crash", timeout_s=ENOUGH_S)
    assert worker.call("count", timeout_s=ENOUGH_S) == 1
    with pytest.raises(TimeoutError):
        worker.call("hang", timeout_s=0.1)
    assert worker.call("count", timeout_s=ENOUGH_S) == 1


def test_a_process_killed_between_two_calls_costs_none(worker: WorkerProcess, wait_until: WaitUntil) -> None:
    pid = worker.call("pid", timeout_s=ENOUGH_S)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    assert worker.call("count", timeout_s=ENOUGH_S) == 1


def test_an_object_that_cannot_be_made_says_why() -> None:
    worker = WorkerProcess(Unstartable)
    with pytest.raises(SettingsError, match="cannot be made"):
        worker.start()
    worker.close()
    with pytest.raises(WorkerDiedError, match="closed"):
        worker.start()


async def test_a_pool_goes_on_whatever_happens_to_its_workers(wait_until: WaitUntil) -> None:
    async with Workers(2, Worker) as workers:

        async def call(method: str, timeout_s: float = ENOUGH_S) -> object:
            return await workers.call(method, timeout_s=timeout_s, wait_s=ENOUGH_S)

        outcomes = await asyncio.gather(
            call("crash"), call("pid"), call("hang", 0.1), call("fail"), call("pid"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [MediaError, int, MediaError, MediaError, int]

        gone = asyncio.create_task(call("hang", 0.5))
        with pytest.raises(TimeoutError):  # its caller leaves; the worker is not lost
            await asyncio.wait_for(gone, 0.1)
        assert await call("pid") in workers.pids

        late = workers.call("pid", timeout_s=ENOUGH_S, wait_s=0.1)
        outcomes = await asyncio.gather(call("hang", 1.0), call("hang", 1.0), late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [MediaError, MediaError, RequestRefusedError]
        pids = workers.pids
    wait_until(lambda: not any(is_running(pid) for pid in pids))


async def test_a_worker_that_others_kill_costs_its_caller_nothing(tmp_path: Path) -> None:
    async with Workers(1, Worker) as workers:
        (pid,) = workers.pids
        answered = await workers.call("crash_once", tmp_path / "crashed", timeout_s=ENOUGH_S, wait_s=ENOUGH_S)
        assert answered != pid


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
