"""What the callers have seen: second by second, added up over processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from loadtest.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ERRORS = 20
"""Texts of errors that are told apart; a text with an address in it could be another each time."""

NOT_SENT = "Not sent: as many calls as allowed were on their way already."


@dataclass(slots=True)
class Calls:
    """The calls of one kind.

    Attributes:
        seconds: latencies of the calls that were answered, from the moment each was due, by the second it was due in.
        failed: how many were not, by second.
        service: the same latencies from the moment each was really sent; without a backlog they are equal.
        errors: how many ended so, by text.
        last_answer_s: when the last good answer came.
    """

    seconds: dict[int, Latencies] = field(default_factory=dict)
    failed: Counter[int] = field(default_factory=Counter)
    service: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)
    last_answer_s: float = 0.0

    def answered(self, due_s: float, sent_s: float, done_s: float) -> None:
        """Count a call that was answered; all times are seconds since the start of the test."""
        self.seconds.setdefault(int(due_s), Latencies()).add((done_s - due_s) * 1e3)
        self.service.add((done_s - sent_s) * 1e3)
        self.last_answer_s = max(self.last_answer_s, done_s)

    def fail(self, due_s: float, error: str) -> None:
        """Count a call that was not."""
        self.failed[int(due_s)] += 1
        self._count_error(error, 1)

    def merge(self, other: Calls) -> None:
        """Count those of another process too."""
        for second, latencies in other.seconds.items():
            self.seconds.setdefault(second, Latencies()).merge(latencies)
        self.failed.update(other.failed)
        self.service.merge(other.service)
        for error, count in other.errors.items():
            self._count_error(error, count)
        self.last_answer_s = max(self.last_answer_s, other.last_answer_s)

    @property
    def latencies(self) -> Latencies:
        """Of the whole test."""
        total = Latencies()
        for latencies in self.seconds.values():
            total.merge(latencies)
        return total

    def _count_error(self, error: str, count: int) -> None:
        known = error in self.errors or len(self.errors) < MAX_ERRORS
        self.errors[error if known else "Other errors."] += count


@dataclass(slots=True)
class Record:
    """All calls, by kind.

    Attributes:
        calls: by kind.
        cpu_s: processor time that the callers' processes used.
        seconds: how long the test has taken.
    """

    calls: dict[str, Calls] = field(default_factory=dict)
    cpu_s: float = 0.0
    seconds: float = 0.0

    def of(self, kind: str) -> Calls:
        """The calls of one kind."""
        return self.calls.setdefault(kind, Calls())

    def merge(self, other: Record) -> None:
        """Count those of another process too."""
        for kind, calls in other.calls.items():
            self.of(kind).merge(calls)
        self.cpu_s += other.cpu_s
        self.seconds = max(self.seconds, other.seconds)

    def as_json(self) -> dict[str, Any]:
        """To be sent to another process."""
        return {
            "calls": {
                kind: {
                    "seconds": {str(second): part.as_json() for second, part in calls.seconds.items()},
                    "failed": {str(second): count for second, count in calls.failed.items()},
                    "service": calls.service.as_json(),
                    "errors": dict(calls.errors),
                    "last_answer_s": calls.last_answer_s,
                }
                for kind, calls in self.calls.items()
            },
            "cpu_s": self.cpu_s,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        calls = {
            kind: Calls(
                seconds={int(second): Latencies.from_json(part) for second, part in of_kind["seconds"].items()},
                failed=Counter({int(second): count for second, count in of_kind["failed"].items()}),
                service=Latencies.from_json(of_kind["service"]),
                errors=Counter(of_kind["errors"]),
                last_answer_s=of_kind["last_answer_s"],
            )
            for kind, of_kind in values["calls"].items()
        }
        return cls(calls, values["cpu_s"], values["seconds"])
