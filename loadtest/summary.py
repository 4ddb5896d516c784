"""What a load test found, in figures; and whether that keeps the objectives."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.plan import LoadPlan
    from loadtest.record import Calls, Record
    from loadtest.servers import GatewayLoad, ModelLoad

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

SCHEMA = 1
"""Version of the format of ``summary.json``."""

BUSY = 0.9
"""Share of a core above which the callers themselves may be what is slow."""


@dataclass(frozen=True, slots=True)
class KindSummary:
    """The calls of one kind of user.

    Attributes:
        kind: of user.
        answered: calls with a good answer.
        failed: calls without one.
        per_second: answered calls a second.
        percentiles_ms: latency by percentile; in an open loop from the moment that a call was due.
        mean_ms: the same.
        max_ms: the same.
        service_p99_ms: the 99th percentile from the moment that a call was really sent.
        errors: calls by the text of their error.
    """

    kind: str
    answered: int
    failed: int
    per_second: float
    percentiles_ms: dict[float, float]
    mean_ms: float
    max_ms: float
    service_p99_ms: float
    errors: dict[str, int]

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the latency."""
        return self.percentiles_ms[99.0]


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the test: the calls that were due in it."""

    second: int
    answered: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the servers counted; empty where their metrics could not be had."""

    models: Sequence[ModelLoad] = ()
    gateway: GatewayLoad | None = None
    gauges: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole load test.

    Attributes:
        kinds: one for each kind of user.
        seconds: how long it took, until the last answer.
        timeline: second by second, over all kinds.
        server: what the servers counted meanwhile.
        cores_used: by the callers, as a share of one core each process.
        last_answer_s: when the last good answer came.
    """

    kinds: Sequence[KindSummary]
    seconds: float
    timeline: Sequence[Second]
    server: ServerSide
    cores_used: float
    last_answer_s: float

    @property
    def answered(self) -> int:
        """Calls with a good answer."""
        return sum(kind.answered for kind in self.kinds)

    @property
    def failed(self) -> int:
        """Calls without one."""
        return sum(kind.failed for kind in self.kinds)

    @property
    def error_rate(self) -> float:
        """Share of the calls without a good answer."""
        return self.failed / max(1, self.answered + self.failed)

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return sum(kind.per_second for kind in self.kinds)

    def as_json(self) -> dict[str, Any]:
        """For machines; what could not be measured is null."""
        values = asdict(self) | {
            "answered": self.answered,
            "failed": self.failed,
            "error_rate": self.error_rate,
            "per_second": self.per_second,
        }
        nulled: dict[str, Any] = _without_nan(values)
        return nulled


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a test must reach (service level objectives); None where nothing is asked.

    Attributes:
        p99_ms: the 99th percentile of each kind's latency is at most this.
        error_rate: the share of calls without a good answer is at most this.
        min_rps: there are at least so many good answers a second.
    """

    p99_ms: float | None = None
    error_rate: float | None = None
    min_rps: float | None = None

    def broken_by(self, summary: Summary) -> list[str]:
        """A sentence for each objective that the test did not reach."""
        broken = []
        if self.p99_ms is not None:
            broken += [
                f"--p99-ms {self.p99_ms:g} is broken: {kind.kind} has a 99th percentile of {_ms(kind.p99_ms)}."
                for kind in summary.kinds
                if not kind.p99_ms <= self.p99_ms
            ]
        if self.error_rate is not None and summary.error_rate > self.error_rate:
            broken.append(
                f"--error-rate {self.error_rate:g} is broken: {summary.failed} of {summary.answered + summary.failed}"
                f" calls failed ({summary.error_rate:.2%})."
            )
        if self.min_rps is not None and summary.per_second < self.min_rps:
            broken.append(
                f"--min-rps {self.min_rps:g} is broken: there were {summary.per_second:.1f} good answers a second."
            )
        return broken


def summarize(record: Record, plan: LoadPlan, server: ServerSide) -> Summary:
    """The figures of a test."""
    seconds = max([min(record.seconds, plan.duration_s), *(calls.last_answer_s for calls in record.calls.values())])
    return Summary(
        kinds=[_summarize_kind(kind, record.of(kind), seconds) for kind in plan.users],
        seconds=seconds,
        timeline=_timeline(list(record.calls.values())),
        server=server,
        cores_used=record.cpu_s / plan.workers / seconds if seconds else 0.0,
        last_answer_s=max((calls.last_answer_s for calls in record.calls.values()), default=0.0),
    )


def _summarize_kind(kind: str, calls: Calls, seconds: float) -> KindSummary:
    latencies = calls.latencies
    return KindSummary(
        kind=kind,
        answered=latencies.count,
        failed=calls.failed.total(),
        per_second=latencies.count / seconds if seconds else 0.0,
        percentiles_ms={percent: latencies.percentile(percent) for percent in PERCENTILES},
        mean_ms=latencies.mean_ms,
        max_ms=latencies.max_ms,
        service_p99_ms=calls.service.percentile(99.0),
        errors=dict(calls.errors.most_common()),
    )


def _timeline(kinds: Sequence[Calls]) -> list[Second]:
    last = max((second for calls in kinds for second in (*calls.seconds, *calls.failed)), default=-1)
    timeline = []
    for second in range(last + 1):
        latencies = Latencies()
        for calls in kinds:
            if second in calls.seconds:
                latencies.merge(calls.seconds[second])
        failed = sum(calls.failed[second] for calls in kinds)
        p50, p99 = latencies.percentile(50.0), latencies.percentile(99.0)
        timeline.append(Second(second, latencies.count, failed, p50, p99))
    return timeline


def _ms(value: float) -> str:
    return "nothing, for no call was answered" if math.isnan(value) else f"{value:.1f} ms"


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
