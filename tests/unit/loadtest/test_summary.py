"""What a record says, and which objectives it breaks."""

from __future__ import annotations

import json
import math

import pytest

from loadtest.plan import LoadPlan
from loadtest.record import MAX_ERRORS, NOT_SENT, Record
from loadtest.report import notes
from loadtest.summary import Objectives, ServerSide, Summary, summarize

PLAN = LoadPlan(users={"grpc": 1, "rest": 1}, duration_s=10)


def record(grpc_ms: float = 10.0, rest_ms: float = 100.0, failed: int = 0) -> Record:
    """A hundred calls of each kind in ten seconds; `failed` of those over gRPC are not answered."""
    made = Record(seconds=10.0, cpu_s=2.0)
    for number in range(100):
        due_s = number * 0.1
        if number < failed:
            made.of("grpc").fail(due_s, "refused")
        else:
            made.of("grpc").answered(due_s, due_s, due_s + grpc_ms / 1e3)
        made.of("rest").answered(due_s, due_s, due_s + rest_ms / 1e3)
    return made


def summary(made: Record, plan: LoadPlan = PLAN) -> Summary:
    return summarize(made, plan, ServerSide())


def test_a_record_adds_up_to_rates_and_percentiles() -> None:
    found = summary(record(failed=20))
    grpc, rest = found.kinds
    assert (grpc.answered, grpc.failed, rest.answered, rest.failed) == (80, 20, 100, 0)
    assert found.error_rate == 0.1
    assert found.per_second == pytest.approx(18, rel=0.01)
    assert grpc.p99_ms == pytest.approx(10, rel=0.02)
    assert grpc.errors == {"refused": 20}
    assert [second.answered + second.failed for second in found.timeline] == [20] * 10
    assert [second.failed for second in found.timeline[:3]] == [10, 10, 0]


def test_records_of_two_processes_give_what_one_would_have() -> None:
    whole, first, second = Record(), Record(), Record()
    for number in range(50):
        for part in (whole, first if number % 2 else second):
            part.of("grpc").answered(number, number + 0.5, number + 1.0 + number / 100)
            part.of("grpc").fail(number, f"error {number % 3}")
    first.merge(Record.from_json(json.loads(json.dumps(second.as_json()))))
    merged, expected = summary(first).kinds[0], summary(whole).kinds[0]
    assert (merged.answered, merged.failed, merged.errors) == (expected.answered, expected.failed, expected.errors)
    assert merged.percentiles_ms == expected.percentiles_ms
    assert merged.mean_ms == pytest.approx(expected.mean_ms)
    assert summary(first).timeline[:50] == summary(whole).timeline[:50]


def test_latency_counts_from_the_moment_a_call_was_due() -> None:
    made = Record(seconds=10.0)
    made.of("grpc").answered(1.0, 4.0, 4.01)
    (grpc, _) = summary(made).kinds
    assert grpc.p99_ms == pytest.approx(3010)
    assert grpc.service_p99_ms == pytest.approx(10)


def test_texts_of_errors_do_not_pile_up() -> None:
    made = Record()
    for number in range(1000):
        made.of("grpc").fail(0.0, f"port {number} refused")
    errors = made.of("grpc").errors
    assert len(errors) == MAX_ERRORS + 1
    assert errors.total() == 1000


@pytest.mark.parametrize(
    ("objectives", "names"),
    [
        (Objectives(), []),
        (Objectives(p99_ms=200, error_rate=0.1, min_rps=15), []),
        (Objectives(p99_ms=50), ["--p99-ms 50 is broken: rest has"]),
        (Objectives(p99_ms=5), ["--p99-ms 5 is broken: grpc has", "--p99-ms 5 is broken: rest has"]),
        (Objectives(error_rate=0.09), ["--error-rate 0.09 is broken: 20 of 200"]),
        (Objectives(min_rps=19), ["--min-rps 19 is broken: there were 1"]),
        (
            Objectives(p99_ms=50, error_rate=0, min_rps=100),
            ["--p99-ms 50 is broken", "--error-rate 0 is broken", "--min-rps 100 is broken"],
        ),
    ],
)
def test_an_objective_that_breaks_is_named(objectives: Objectives, names: list[str]) -> None:
    broken = objectives.broken_by(summary(record(failed=20)))
    assert len(broken) == len(names)
    assert all(sentence.startswith(name) for sentence, name in zip(broken, names, strict=True))


def test_no_answer_at_all_breaks_the_latency_too() -> None:
    made = Record(seconds=10.0)
    made.of("grpc").fail(0.0, NOT_SENT)
    plan = LoadPlan(users={"grpc": 1}, duration_s=10)
    (broken,) = Objectives(p99_ms=50).broken_by(summary(made, plan))
    assert "no call was answered" in broken
    assert summary(made, plan).as_json()["kinds"][0]["percentiles_ms"]["99.0"] is None
    assert math.isnan(summary(made, plan).kinds[0].p99_ms)


def test_the_reader_is_told_how_latency_was_taken() -> None:
    assert "coordinated omission" in notes(summary(record()), PLAN)[0]
    opened = PLAN.model_copy(update={"rate": 20.0})
    assert "corrected for coordinated omission" in notes(summary(record(), opened), opened)[0]


def test_the_reader_is_told_when_the_callers_were_busy_themselves() -> None:
    made = record()
    made.cpu_s = 9.9
    assert any("--processes" in note for note in notes(summary(made), PLAN))
