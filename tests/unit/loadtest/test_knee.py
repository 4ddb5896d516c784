"""The search for the capacity, on a simulated server."""

from __future__ import annotations

import random

import pytest

from loadtest.knee import Probe, find_knee


class SimulatedServer:
    """An M/M/1 queue: with a mean service of 1/capacity the 99th percentile of the time in it is ln(100)/(c - rate).

    It stands in for a server because the capacity that a search finds can be held against nothing else that is known.
    """

    def __init__(self, capacity: float, p99_ms: float = 50.0, noise: float = 0.0) -> None:
        self.knee = capacity - 4.605 / p99_ms * 1e3
        self.rates: list[float] = []
        self._noise = noise
        self._chance = random.Random(3)

    def __call__(self, rate: float) -> Probe:
        self.rates.append(rate)
        holds = rate <= self.knee and self._chance.random() >= self._noise
        return Probe(rate, holds, rate, 10.0, 0.0)


@pytest.mark.parametrize("capacity", [100, 130, 500, 2_000, 37_000])
def test_the_knee_is_found_to_the_precision_asked_for(capacity: float) -> None:
    server = SimulatedServer(capacity)
    found = find_knee(server, start=50, precision=0.05)
    assert server.knee / 1.05 <= found.rate <= server.knee
    assert [probe.rate for probe in found.probes] == server.rates


def test_a_start_above_the_knee_is_no_matter() -> None:
    server = SimulatedServer(150)
    assert find_knee(server, start=1_000).rate == pytest.approx(server.knee, rel=0.05)


def test_one_bad_probe_in_five_does_not_move_the_knee_far() -> None:
    found = [find_knee(SimulatedServer(500, noise=0.2), start=20, attempts=3).rate for _ in range(2)]
    assert found[0] == pytest.approx(SimulatedServer(500).knee, rel=0.15)
    assert found[1] == pytest.approx(found[0], rel=0.15)


def test_a_server_that_holds_nothing_has_no_knee() -> None:
    found = find_knee(lambda rate: Probe(rate, False, 0.0, float("nan"), 1.0), start=64)
    assert found.rate == 0
    assert min(probe.rate for probe in found.probes) <= 1


def test_the_search_ends_at_the_highest_rate_allowed() -> None:
    found = find_knee(lambda rate: Probe(rate, True, rate, 1.0, 0.0), start=10, highest=100)
    assert found.rate == 80
