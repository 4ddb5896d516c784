"""Contestants measured in turn, round by round, and their ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Rounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.contestants import Contestant, Faces

LATENCY = "1 x 1, p50 ms"


@dataclass(frozen=True, slots=True)
class Workload:
    """So many callers with so many faces in each call."""

    callers: int
    faces: int

    @property
    def figure(self) -> str:
        """Name of what is measured, such as ``16 x 1, faces/s``."""
        return f"{self.callers} x {self.faces}, faces/s"


class Comparison:
    """Contestants and what was measured of them.

    Args:
        contestants: the first is what the others are held against.
        faces: as many as the largest workload needs.
        seconds: of a measurement.
    """

    def __init__(self, contestants: Sequence[Contestant], faces: Faces, seconds: float) -> None:
        self._contestants = contestants
        self._faces = faces
        self._seconds = seconds
        self._rounds = {contestant.name: Rounds() for contestant in contestants}

    def measure_round(self, workloads: Iterable[Workload]) -> None:
        """Each contestant in turn: the latency of one caller, then every workload."""
        for contestant in self._contestants:
            rounds = self._rounds[contestant.name]
            latency_ms = contestant.latency_ms(self._faces[:1], self._seconds)
            if latency_ms is not None:
                rounds.add(LATENCY, latency_ms)
            for workload in workloads:
                calls_per_s = contestant.calls_per_s(self._faces[: workload.faces], workload.callers, self._seconds)
                rounds.add(workload.figure, calls_per_s * workload.faces)

    def result(self) -> dict[str, Any]:
        """All values by contestant and figure."""
        return {"figures": {name: rounds.values for name, rounds in self._rounds.items()}}


def ratios(figures: dict[str, dict[str, list[float]]], name: str, to: str, figure: str) -> list[float]:
    """One contestant's values over another's, round by round."""
    return [mine / theirs for mine, theirs in zip(figures[name][figure], figures[to][figure], strict=True)]
