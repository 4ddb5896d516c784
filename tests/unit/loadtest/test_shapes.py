"""When calls are due."""

from __future__ import annotations

from itertools import pairwise, repeat

import pytest

from loadtest import shapes
from loadtest.plan import LoadPlan
from loadtest.shapes import SHAPES, Stage, arrival_times, level


def test_a_constant_rate_spaces_calls_evenly() -> None:
    times = list(arrival_times([Stage(10, 1, 1)], rate=4, gaps=repeat(1.0)))
    assert times == pytest.approx([0.25 * (number + 1) for number in range(40)])


def test_a_ramp_has_half_of_the_calls_and_most_of_them_late() -> None:
    times = list(arrival_times([Stage(10, 0, 1)], rate=100, gaps=repeat(1.0)))
    assert len(times) == pytest.approx(500, abs=1)
    # The number of calls until t is rate * t² / 20.
    assert times[124] == pytest.approx(5.0)
    assert all(later > earlier for earlier, later in pairwise(times))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_as_many_calls_as_its_level_says(shape: shapes.ShapeName) -> None:
    stages = shapes.stages(shape, 30)
    times = list(arrival_times(stages, rate=200, gaps=repeat(1.0)))
    due = sum(stage.seconds * (stage.start + stage.end) / 2 * 200 for stage in stages)
    assert len(times) == pytest.approx(due, abs=1)
    assert max(times) <= 30 + 1e-9
    assert sum(stage.seconds for stage in stages) == pytest.approx(30)


def test_the_level_ends_with_the_test() -> None:
    stages = shapes.stages("spike", 10)
    assert [level(stages, second) for second in (0, 3.9, 4.5, 6.5, 10)] == [0.2, 0.2, 1.0, 0.2, None]


def test_poisson_arrivals_have_the_mean_and_the_variance_of_one() -> None:
    plan = LoadPlan(users={"grpc": 1}, duration_s=200, rate=50)
    times = list(plan.arrival_times("grpc", 0) or ())
    counts = [sum(second <= time < second + 1 for time in times) for second in range(200)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(50, rel=0.05)
    assert variance == pytest.approx(50, rel=0.3)


def test_kinds_and_workers_share_the_rate_and_differ() -> None:
    plan = LoadPlan(users={"grpc": 3, "rest": 1}, duration_s=100, rate=40, workers=2)
    parts = {(kind, worker): list(plan.arrival_times(kind, worker) or ()) for kind in plan.users for worker in range(2)}
    assert sum(map(len, parts.values())) == pytest.approx(4000, rel=0.05)
    assert len(parts["grpc", 0]) == pytest.approx(1500, rel=0.1)
    assert parts["grpc", 0][:10] != parts["grpc", 1][:10]


def test_the_same_seed_gives_the_same_arrivals() -> None:
    plan = LoadPlan(users={"grpc": 1}, duration_s=5, rate=40)
    other = plan.model_copy(update={"seed": 2})
    assert list(plan.arrival_times("grpc", 0) or ()) == list(plan.arrival_times("grpc", 0) or ())
    assert list(plan.arrival_times("grpc", 0) or ()) != list(other.arrival_times("grpc", 0) or ())


def test_a_closed_loop_has_no_arrivals() -> None:
    assert LoadPlan(users={"grpc": 1}).arrival_times("grpc", 0) is None
