"""Timing: latency of one caller, throughput of many, and ratios taken round by round.

Machines drift, so two things that are compared are measured in turn, and the ratio is taken within a round.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def median_latency_ms(call: Callable[[], object], seconds: float) -> float:
    """p50 of one caller that calls again as soon as it has its answer, in milliseconds."""
    call()
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        call()
        durations.append(time.perf_counter() - begin)
    return statistics.median(durations) * 1e3


def throughput(call: Callable[[], object], callers: int, seconds: float) -> float:
    """Calls per second of `callers` threads in a closed loop."""
    call()
    counts = [0] * callers
    end = time.perf_counter() + seconds

    def loop(caller: int) -> None:
        while time.perf_counter() < end:
            call()
            counts[caller] += 1

    threads = [threading.Thread(target=loop, args=(caller,)) for caller in range(callers)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


async def async_throughput(call: Callable[[], Awaitable[object]], callers: int, seconds: float) -> float:
    """Calls per second of `callers` tasks of one event loop in a closed loop."""
    await call()
    end = time.perf_counter() + seconds

    async def loop() -> int:
        count = 0
        while time.perf_counter() < end:
            await call()
            count += 1
        return count

    begin = time.perf_counter()
    counts = await asyncio.gather(*(loop() for _ in range(callers)))
    return sum(counts) / (time.perf_counter() - begin)


class Rounds:
    """Figures by name, one value a round."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> float:
        """Note one round's value."""
        self.values.setdefault(name, []).append(value)
        return value


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of one figure over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, unit: str = "") -> str:
        """Such as ``2.13 ms (2.10-2.31)``."""
        digits = 0 if self.median >= 100 else 2
        return f"{self.median:.{digits}f}{unit} ({self.least:.{digits}f}-{self.most:.{digits}f})"
