"""The highest rate that keeps the objectives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate that was tried.

    Attributes:
        rate: calls a second that were due.
        holds: whether the objectives were kept.
        per_second: good answers a second.
        p99_ms: of the latency, from the moment each call was due; not a number if nothing was answered.
        error_rate: share of the calls without a good answer.
        reasons: what was not kept.
    """

    rate: float
    holds: bool
    per_second: float
    p99_ms: float
    error_rate: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Knee:
    """What a search found: the highest rate that held (0 if none did), and everything that was tried, in order."""

    rate: float
    probes: tuple[Probe, ...]


def find_knee(
    probe: Callable[[float], Probe], *, start: float, precision: float = 0.05, attempts: int = 2, highest: float = 1e6
) -> Knee:
    """Search the highest rate that holds: doubling from `start` until one breaks, then halving the gap.

    A rate counts as broken when `attempts` probes of it break: on a machine that does other things too, one bad probe
    says little. The geometric mean is taken, so that every step halves the ratio of the two bounds.

    Args:
        probe: tries one rate.
        start: the first rate, in calls a second.
        precision: the search ends when the bounds differ by no more than this share.
        attempts: how often a rate that breaks is tried.
        highest: never try more.
    """
    tried: list[Probe] = []

    def holds(rate: float) -> bool:
        for _ in range(attempts):
            tried.append(probe(rate))
            if tried[-1].holds:
                return True
        return False

    low, high = 0.0, math.inf
    rate = start
    while math.isinf(high) and rate <= highest:
        if holds(rate):
            low, rate = rate, rate * GROWTH
        else:
            high = rate
    while not low and high > 1.0:  # the first one broke: the knee is below it
        if holds(high / GROWTH):
            low = high / GROWTH
        else:
            high /= GROWTH
    while low and not math.isinf(high) and high / low > 1 + precision:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return Knee(low, tuple(tried))
