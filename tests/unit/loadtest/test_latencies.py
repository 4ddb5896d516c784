"""Percentiles out of a histogram."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from loadtest.latencies import GROWTH, Latencies


def histogram(values: list[float]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9, 100])
def test_a_percentile_is_at_most_a_percent_above_the_true_one(percent: float) -> None:
    chance = random.Random(1)
    values = [chance.lognormvariate(2, 1.5) for _ in range(20_000)]
    true = float(np.percentile(values, percent, method="inverted_cdf"))
    assert true <= histogram(values).percentile(percent) * (1 + 1e-12)
    assert histogram(values).percentile(percent) <= true * GROWTH


def test_the_longest_is_never_exceeded() -> None:
    assert histogram([3.0, 7.003]).percentile(99) == 7.003


def test_histograms_of_several_processes_add_up() -> None:
    one, other = histogram([1.0, 2.0]), histogram([40.0])
    one.merge(Latencies.from_json(json.loads(json.dumps(other.as_json()))))
    assert one.as_json() == histogram([1.0, 2.0, 40.0]).as_json()
    assert (one.count, one.mean_ms, one.max_ms) == (3, pytest.approx(43 / 3), 40.0)


def test_without_any_there_is_no_percentile() -> None:
    assert math.isnan(Latencies().percentile(99))
    assert math.isnan(Latencies().mean_ms)


def test_a_clock_that_stood_still_is_no_error() -> None:
    assert histogram([0.0]).percentile(50) == 0.0
