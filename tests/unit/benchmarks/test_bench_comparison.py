"""Contestants take turns, and ratios are taken within a round."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.comparison import LATENCY, Comparison, Workload, ratios


class Steady:
    def __init__(self, name: str, per_s: float, latency_ms: float | None, turns: list[str]) -> None:
        self.name = name
        self._per_s = per_s
        self._latency_ms = latency_ms
        self._turns = turns

    def latency_ms(self, faces: np.ndarray, seconds: float) -> float | None:
        return self._latency_ms

    def calls_per_s(self, faces: np.ndarray, callers: int, seconds: float) -> float:
        self._turns.append(f"{self.name}: {callers} x {len(faces)}")
        return self._per_s


def test_contestants_take_turns_and_calls_count_as_faces() -> None:
    turns: list[str] = []
    contestants = [Steady("limit", 100.0, 2.0, turns), Steady("ours", 50.0, None, turns)]
    comparison = Comparison(contestants, np.zeros((16, 96, 96, 3), np.uint8), 0.0)
    comparison.measure_round([Workload(16, 1), Workload(4, 16)])

    assert turns == ["limit: 16 x 1", "limit: 4 x 16", "ours: 16 x 1", "ours: 4 x 16"]
    figures = comparison.result()["figures"]
    assert figures["limit"] == {LATENCY: [2.0], "16 x 1, faces/s": [100.0], "4 x 16, faces/s": [1600.0]}
    assert LATENCY not in figures["ours"]


def test_a_ratio_is_taken_within_its_round() -> None:
    figures = {"limit": {"faces/s": [100.0, 200.0]}, "ours": {"faces/s": [50.0, 200.0]}}
    assert ratios(figures, "ours", "limit", "faces/s") == pytest.approx([0.5, 1.0])
