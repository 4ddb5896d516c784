"""Row 7: what clients that are slow, silent, gone or without patience do to the others, and 200 that come at once."""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import httpx
import numpy as np
import psutil
import pytest

from benchmarks.gateway import memory_mib
from mien import AsyncEmotionClient, ClientSettings, EmotionClient, MienError, ServerOverloadedError
from mien.contract import EMOTION
from mien.gateway.room import GRACE_S
from mien.gateway.settings import GatewaySettings
from tests.faults.bad_clients import REQUEST
from tests.faults.pictures import PICTURE
from tests.gateways import RunningGateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone, pytest.mark.fault(7)]

ROOT = Path(__file__).parents[2]
CALLERS = 2
"""Of each kind, so that the machine is not full without the bad ones."""
PAUSE_S = 0.01
MAX_RATIO = 1.5
MAX_DEATHS = 3
"""Of Triton in the middle of a round, of its own fault (docs/security.md); `test_cancelled_calls.py` counts them."""
AT_ONCE = 200
WARM_FLOODS = 5
"""Threads, buffers and each size of batch take memory at first and keep it; only then more would be a leak."""
QUEUE_S = 2.0
"""Longest wait in the queue of a member, by its configuration; there are two members."""
ANSWER_S = 2 * QUEUE_S + 1
REST_S = 5.0
MAX_GROWTH_MIB = 20.0


SLOW_UPLOADS = 2 * GatewaySettings.model_fields["max_in_flight"].default
GOOD_PICTURES = 20


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Iterator[TritonServer]:
    with make_server(tmp_path / "state") as server:
        yield server


@pytest.fixture
def gateway(server: TritonServer, tmp_path: Path) -> Iterator[RunningGateway]:
    folder = tmp_path / "gateway"
    folder.mkdir()
    with running_gateway(server.endpoint, folder, deadline_s=10, DETECT_PER_MINUTE="10000000") as gateway:
        yield gateway


def latencies(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds that each call of `CALLERS` callers took, who pause a little after each.

    Raises:
        MienError, httpx.HTTPError: what a call raised.
    """
    taken: list[float] = []
    failures: list[Exception] = []
    end = time.monotonic() + seconds

    def loop() -> None:
        while time.monotonic() < end and not failures:
            begin = time.monotonic()
            try:
                call()
            except (MienError, httpx.HTTPError) as error:
                failures.append(error)
                return
            taken.append(time.monotonic() - begin)
            time.sleep(PAUSE_S)

    threads = [threading.Thread(target=loop) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return taken


@contextmanager
def bad_clients(server: TritonServer, gateway: RunningGateway) -> Iterator[None]:
    """All of them at work inside."""
    command = [
        sys.executable,
        "-m",
        "tests.faults.bad_clients",
        server.endpoint,
        httpx.URL(gateway.url).netloc.decode(),
    ]
    before = connections(gateway.process.pid)
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            end = time.monotonic() + 30
            while connections(gateway.process.pid) < before + 60:
                assert time.monotonic() < end, "the bad clients do not come"
                assert process.poll() is None
                time.sleep(0.05)
            yield
            assert process.poll() is None
        finally:
            process.terminate()


def connections(pid: int) -> int:
    return len(psutil.Process(pid).net_connections())


def p99_ms(taken: list[float]) -> float:
    return float(np.percentile(taken, 99)) * 1e3


@pytest.mark.timeout(600)
def test_others_hardly_notice_bad_clients(
    server: TritonServer, gateway: RunningGateway, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    rounds, seconds = scale.of(full=5, short=2), scale.of(full=4, short=2)
    face = EMOTION.input.zeros(1)
    p99s: dict[str, list[tuple[float, float]]] = {"gRPC": [], "REST": []}
    with EmotionClient(ClientSettings(endpoints=server.endpoint)) as client, gateway.client() as http:
        calls = {
            "gRPC": lambda: client.classify(face),
            "REST": lambda: http.post("/v1/detect", files={"image": PICTURE}).raise_for_status(),
        }
        for call in calls.values():
            latencies(call, seconds)
        held = Held(server, gateway)
        deaths = 0
        while len(p99s["REST"]) < rounds:
            kind = "gRPC" if len(p99s["gRPC"]) == len(p99s["REST"]) else "REST"
            try:
                without = p99_ms(latencies(calls[kind], seconds))
                with bad_clients(server, gateway):
                    p99s[kind].append((without, p99_ms(latencies(calls[kind], seconds))))
            except (MienError, httpx.HTTPError):
                if server.is_alive or deaths == MAX_DEATHS:
                    raise
                deaths += 1
                server.restart()
                latencies(calls[kind], seconds)
                held = Held(server, gateway)
        held.check(wait_until)
    ratios = {kind: statistics.median(bad / good for good, bad in pairs) for kind, pairs in p99s.items()}
    for kind, pairs in p99s.items():
        good, bad = (statistics.median(values) for values in zip(*pairs, strict=True))
        figures.add(
            f"{kind}: p99 {bad:.0f} ms beside 143 bad clients, {good:.0f} ms without; ratio {ratios[kind]:.2f} (medians"
            f" of {rounds} rounds)"
        )
    figures.add(f"{held.text}; Triton 2.51 ended of a cancelled call in {deaths} rounds, done again")
    assert max(ratios.values()) <= MAX_RATIO


class Held:
    """What server and gateway hold: connections, threads, open files, memory."""

    def __init__(self, server: TritonServer, gateway: RunningGateway) -> None:
        self._pids = {"server": server.process_id, "gateway": gateway.process.pid}
        self._before = {name: self._now(pid) for name, pid in self._pids.items()}
        self._memory_mib = {name: memory_mib(pid) for name, pid in self._pids.items()}
        self.text = ""

    def check(self, wait_until: WaitUntil) -> None:
        """Wait for all of it to be as before."""
        for name, pid in self._pids.items():
            wait_until(lambda pid=pid, name=name: self._now(pid) <= self._before[name] + 2, timeout_s=REST_S)
        growth = {name: memory_mib(pid) - self._memory_mib[name] for name, pid in self._pids.items()}
        sizes = ", ".join(f"{name} {mib:+.1f} MiB" for name, mib in growth.items())
        self.text = f"left of them: no connection, {sizes}"
        assert max(growth.values()) < MAX_GROWTH_MIB

    def _now(self, pid: int) -> int:
        return connections(pid)


def pending(server: TritonServer, gateway: RunningGateway) -> int:
    """Requests in Triton's queues and in the gateway, but for the one that asks."""
    with urlopen(server.metrics_url, timeout=10) as answer:
        queued = re.findall(r"nv_inference_pending_request_count\{.*\} (\d+)", answer.read().decode())
    page = httpx.get(f"{gateway.url}/metrics", timeout=10).text
    in_flight = re.findall(r"^mien_gateway_in_flight (\S+)", page, re.MULTILINE)
    assert queued
    return sum(map(int, queued)) + int(float(in_flight[0])) - 1


def test_slow_uploads_keep_nobody_out(server: TritonServer, gateway: RunningGateway, figures: Figures) -> None:
    """Twice as many as have a place send half of a picture and then nothing; who comes later is answered."""
    address = httpx.URL(gateway.url)
    with ExitStack() as uploads, gateway.client() as http:
        for _ in range(SLOW_UPLOADS):
            upload = uploads.enter_context(socket.create_connection((address.host, address.port or 80), timeout=60))
            upload.sendall(REQUEST[: len(REQUEST) // 2])
        begin = time.monotonic()
        while (answer := http.post("/v1/detect", files={"image": PICTURE})).status_code != httpx.codes.OK:
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert time.monotonic() < begin + 5 * GRACE_S, "they keep others out"
            time.sleep(PAUSE_S)
        kept_out_s = time.monotonic() - begin
        statuses = [http.post("/v1/detect", files={"image": PICTURE}).status_code for _ in range(GOOD_PICTURES)]
    answered = statuses.count(httpx.codes.OK)
    figures.add(
        f"{SLOW_UPLOADS} pictures that stop half-way, for {SLOW_UPLOADS // 2} places: others kept out for"
        f" {kept_out_s:.1f} s, then {answered} of {GOOD_PICTURES} answered"
    )
    assert answered == GOOD_PICTURES


async def at_once(call: Callable[[int], object]) -> tuple[float, list[object]]:
    """Make `AT_ONCE` calls together; gives the time of the slowest, and each one's answer."""
    slowest = [0.0]

    async def one(number: int) -> object:
        begin = time.monotonic()
        answer = await call(number)  # type: ignore[misc]
        slowest[0] = max(slowest[0], time.monotonic() - begin)
        return answer

    answers = await asyncio.gather(*map(one, range(AT_ONCE)))
    return slowest[0], list(answers)


def test_two_hundred_at_once_are_answered_or_refused_in_time(
    server: TritonServer, gateway: RunningGateway, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    face = EMOTION.input.zeros(1)

    async def by_grpc() -> tuple[float, list[object]]:
        async with AsyncEmotionClient(ClientSettings(endpoints=server.endpoint, retry_attempts=1)) as client:

            async def call(_: int) -> object:
                try:
                    return len(await client.classify(face))
                except ServerOverloadedError:
                    return "refused"

            return await at_once(call)

    async def by_rest() -> tuple[float, list[object]]:
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits) as client:

            async def call(_: int) -> object:
                return (await client.post("/v1/detect", files={"image": PICTURE})).status_code

            return await at_once(call)

    for calls in (by_grpc, by_rest) * WARM_FLOODS:
        asyncio.run(calls())
    held = Held(server, gateway)
    for kind, calls, allowed in (("gRPC", by_grpc, {1, "refused"}), ("REST", by_rest, {200, 503})):
        slowest_s, answers = asyncio.run(calls())
        begin = time.monotonic()
        wait_until(lambda: pending(server, gateway) == 0, timeout_s=REST_S)
        answered = sum(answer in {1, 200} for answer in answers)
        figures.add(
            f"{AT_ONCE} at once by {kind}: {answered} answered, {AT_ONCE - answered} refused, the last after"
            f" {slowest_s:.1f} s; queues empty {time.monotonic() - begin:.1f} s later"
        )
        assert set(answers) <= allowed
        assert slowest_s < ANSWER_S
    held.check(wait_until)
