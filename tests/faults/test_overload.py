"""Row 8: three times the requests that can be answered, in open loop: they come whether others are answered or not."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from benchmarks.measure import Spread, async_throughput
from mien import AsyncEmotionClient, ClientSettings, MienError
from mien.contract import EMOTION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone, pytest.mark.fault(8)]

FACES = 16
CALLERS = 16
TIMES = 3
MIN_GOODPUT = 0.8
RECOVERY_S = 5.0
CALM = 5
"""So many calls in a row that take no longer than twice what they took before: it has recovered."""


@dataclass(frozen=True, slots=True)
class Round:
    """Peak and overload, measured one after the other.

    Attributes:
        peak: calls answered a second in closed loop.
        goodput: calls answered a second under the overload.
        outcomes: of all calls under the overload: "answered", or the error.
        longest_s: that a call waited for either.
        recovery_s: after the last of them, until single calls are as fast as before.
    """

    peak: float
    goodput: float
    outcomes: Counter[str]
    longest_s: float
    recovery_s: float


async def overload(client: AsyncEmotionClient, rate: float, seconds: float) -> tuple[float, Counter[str], float]:
    """Begin `rate` calls a second; gives the calls answered a second, all outcomes and the longest wait."""
    faces = EMOTION.input.zeros(FACES)
    outcomes: Counter[str] = Counter()
    longest_s, in_time = 0.0, 0
    start = time.monotonic()

    async def one() -> None:
        nonlocal longest_s, in_time
        begin = time.monotonic()
        try:
            await client.classify(faces)
        except MienError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["answered"] += 1
            in_time += time.monotonic() < start + seconds
        longest_s = max(longest_s, time.monotonic() - begin)

    async with asyncio.TaskGroup() as calls:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            calls.create_task(one())
    return in_time / seconds, outcomes, longest_s


async def single_s(client: AsyncEmotionClient) -> float:
    begin = time.monotonic()
    await client.classify(EMOTION.input.zeros(FACES))
    return time.monotonic() - begin


async def measure(settings: ClientSettings, seconds: float) -> Round:
    faces = EMOTION.input.zeros(FACES)
    async with AsyncEmotionClient(settings) as client:
        usual_s = statistics.median([await single_s(client) for _ in range(20)])
        peak = await async_throughput(lambda: client.classify(faces), CALLERS, seconds)
        goodput, outcomes, longest_s = await overload(client, TIMES * peak, 2 * seconds)
        end, calm = time.monotonic(), 0
        while calm < CALM and time.monotonic() < end + 2 * RECOVERY_S:
            calm = calm + 1 if await single_s(client) < 2 * usual_s else 0
        return Round(peak, goodput, outcomes, longest_s, time.monotonic() - end)


@pytest.mark.timeout(600)
def test_three_times_the_capacity(make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures) -> None:
    with make_server(tmp_path) as server:
        settings = ClientSettings(endpoints=server.endpoint, retry_attempts=1)
        rounds = [asyncio.run(measure(settings, scale.of(full=4, short=2))) for _ in range(scale.of(full=3, short=1))]
    outcomes = sum((one.outcomes for one in rounds), Counter[str]())
    ratio = statistics.median(one.goodput / one.peak for one in rounds)
    figures.add(
        f"{TIMES} x {statistics.median(one.peak for one in rounds):.0f} calls/s of {FACES} faces: goodput"
        f" {Spread.of([one.goodput / one.peak for one in rounds]).text()} of the peak, median of {len(rounds)} rounds;"
        f" {dict(outcomes)}, none later than {max(one.longest_s for one in rounds):.1f} s; recovered after"
        f" {max(one.recovery_s for one in rounds):.1f} s"
    )
    assert outcomes.keys() == {"answered", "ServerOverloadedError"}
    assert ratio >= MIN_GOODPUT
    assert max(one.recovery_s for one in rounds) < RECOVERY_S
