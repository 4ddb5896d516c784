"""Durations as a histogram that can be added up over processes and gives percentiles to within a percent."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

GROWTH = 1.01
"""Each bucket's upper bound is a percent above the one before it."""

_LEAST_MS = 1e-3


@dataclass(slots=True)
class Latencies:
    """Counts of durations by bucket, their sum and the longest, in milliseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    sum_ms: float = 0.0
    max_ms: float = 0.0

    def add(self, ms: float) -> None:
        """Count one duration."""
        self.counts[math.ceil(math.log(max(ms, _LEAST_MS), GROWTH))] += 1
        self.sum_ms += ms
        self.max_ms = max(self.max_ms, ms)

    def merge(self, other: Latencies) -> None:
        """Count those of another histogram too."""
        self.counts.update(other.counts)
        self.sum_ms += other.sum_ms
        self.max_ms = max(self.max_ms, other.max_ms)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def mean_ms(self) -> float:
        """Their mean; not a number if there are none."""
        return self.sum_ms / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The nearest-rank percentile, rounded up to its bucket's bound; not a number if there are none."""
        rank = math.ceil(self.count * percent / 100)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(GROWTH**bucket, self.max_ms)
        return math.nan

    def as_json(self) -> dict[str, Any]:
        """To be sent to another process."""
        counts = {str(bucket): count for bucket, count in self.counts.items()}
        return {"counts": counts, "sum_ms": self.sum_ms, "max_ms": self.max_ms}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        counts = Counter({int(bucket): count for bucket, count in values["counts"].items()})
        return cls(counts, values["sum_ms"], values["max_ms"])
