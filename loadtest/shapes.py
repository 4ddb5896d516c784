"""How the load changes over a test: a level between 0 and 1 of its peak, linear within each stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ShapeName = Literal["soak", "steps", "spike", "ramp"]
SHAPES: tuple[str, ...] = get_args(ShapeName)

STEPS = 5
SPIKE_BASE = 0.2
"""Level before and after a spike, which itself takes the middle fifth of the test."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the test.

    Attributes:
        seconds: how long it takes.
        start: level at its beginning.
        end: level at its end.
    """

    seconds: float
    start: float
    end: float


def stages(shape: ShapeName, seconds: float) -> tuple[Stage, ...]:
    """The stages of a test that takes `seconds`.

    `soak` is the peak all the time, `steps` five levels, `spike` a fifth of the peak with the peak in the middle,
    `ramp` a straight line from nothing to the peak.
    """
    if shape == "steps":
        return tuple(Stage(seconds / STEPS, step / STEPS, step / STEPS) for step in range(1, STEPS + 1))
    if shape == "spike":
        base = Stage(0.4 * seconds, SPIKE_BASE, SPIKE_BASE)
        return (base, Stage(0.2 * seconds, 1.0, 1.0), base)
    if shape == "ramp":
        return (Stage(seconds, 0.0, 1.0),)
    return (Stage(seconds, 1.0, 1.0),)


def level(parts: Iterable[Stage], second: float) -> float | None:
    """The level at a moment; None once the test is over."""
    for stage in parts:
        if second < stage.seconds:
            return stage.start + (stage.end - stage.start) * second / stage.seconds
        second -= stage.seconds
    return None


def arrival_times(parts: Iterable[Stage], rate: float, gaps: Iterator[float]) -> Iterator[float]:
    """When calls are due, in seconds from the start of the test, by rescaling time.

    Args:
        parts: of the test.
        rate: calls a second at level 1.
        gaps: between calls, in units of the mean gap: ones give a constant rate, draws from the exponential
            distribution of mean 1 a Poisson process (Lewis and Shedler, 1979, on one that is not homogeneous).
    """
    begin, owed = 0.0, next(gaps)
    for stage in parts:
        started = 0.0
        while True:
            after = _time_for(stage, rate, started, owed)
            if after is None:
                owed -= _calls(stage, rate, started)
                break
            started, owed = after, next(gaps)
            yield begin + after
        begin += stage.seconds


def _calls(stage: Stage, rate: float, since: float) -> float:
    """How many calls are due from a moment of a stage until its end."""
    at_since = stage.start + (stage.end - stage.start) * since / stage.seconds
    return rate * (at_since + stage.end) / 2 * (stage.seconds - since)


def _time_for(stage: Stage, rate: float, since: float, calls: float) -> float | None:
    """When so many calls after `since` have come due; None if not within the stage."""
    slope = (stage.end - stage.start) / stage.seconds * rate
    at_since = stage.start * rate + slope * since
    if calls > _calls(stage, rate, since):
        return None
    root = math.sqrt(max(0.0, at_since * at_since + 2 * slope * calls))
    # The solution of  at_since * t + slope * t² / 2 = calls  that loses no digits when the slope is small.
    return since + 2 * calls / (at_since + root)
