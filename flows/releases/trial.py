"""The trial of a candidate on live traffic: do both releases agree, and what does the candidate cost?

The figures are those of shadow calls (`MIEN_SHADOW_SHARE` in the services), in which both releases get the same.
They are of this pair of releases of one ensemble, since the services started.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.table import Table

from flows.errors import TrialRefusedError
from flows.retraining.gate import Rule
from flows.traffic.pages import read_pages
from mien.contract import ensemble_named
from mien.errors import SettingsError
from serving.advice import release_name

if TYPE_CHECKING:
    from flows.traffic.pages import Histogram, Samples, TrafficSettings
    from mien.contract import EnsembleSpec

CONFIDENCE = 0.95


class TrialSettings(BaseSettings):
    """What a candidate must show; each comes from ``MIEN_TRIAL_<NAME>`` in the environment.

    Attributes:
        min_faces: faces, or windows of speech, that both releases must have classified.
        min_agreement: least share of them that both name the same; the interval's lower end must reach it.
        max_latency_ratio: largest p95 of the candidate over that of the release, both estimated.
        max_failed_share: largest share of the candidate's calls that it may fail.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_TRIAL_", extra="ignore", frozen=True, env_ignore_empty=True)

    min_faces: int = Field(default=500, ge=1)
    min_agreement: float = Field(default=0.7, ge=0, le=1)
    max_latency_ratio: float = Field(default=1.5, gt=0)
    max_failed_share: float = Field(default=0.01, ge=0, le=1)


def read_trial_settings() -> TrialSettings:
    """The settings from the environment.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return TrialSettings()
    except ValidationError as error:
        problems = [f"MIEN_TRIAL_{str(p['loc'][0]).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()]
        raise SettingsError(" ".join(problems)) from error


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one release's calls; quantiles are estimated from a histogram's buckets, None without calls."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, seconds: Histogram) -> Latency:
        """From a histogram of seconds."""
        estimates = (seconds.quantile(share) for share in (0.5, 0.95, 0.99))
        return cls(*(None if estimate is None else estimate * 1e3 for estimate in estimates))


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What the trial of a candidate has shown so far.

    Attributes:
        ensemble: whose releases they are.
        release: the release that answers the callers.
        candidate: the one on trial.
        calls: that both answered.
        faces: in them; of speech, windows.
        agreed: how many of these both name the same.
        low: lower end of the 95 % interval of the share that they agree on (Wilson's; E. B. Wilson, JASA 22, 1927). It
            takes them for independent, which those of one video or recording are not.
        high: its upper end.
        failed: calls that the candidate failed.
        dropped: shadow calls that were not made, as too many were on their way.
        latency: of the release's calls.
        candidate_latency: of the candidate's.
        rules: what the candidate must show, kept or not.
        unread: pages that could not be read, and why; the figures lack them.
    """

    ensemble: str
    release: int
    candidate: int
    calls: int
    faces: int
    agreed: int
    low: float
    high: float
    failed: int
    dropped: int
    latency: Latency
    candidate_latency: Latency
    rules: tuple[Rule, ...]
    unread: dict[str, str]

    @property
    def agreement(self) -> float | None:
        """Share of them that both name the same; None without any."""
        return self.agreed / self.faces if self.faces else None

    @property
    def passed(self) -> bool:
        """Whether the candidate has shown what it must."""
        return all(rule.kept for rule in self.rules)

    @property
    def sentence(self) -> str:
        """The outcome and its reasons."""
        broken = [f"{rule.name} ({rule.finding})" for rule in self.rules if not rule.kept]
        candidate = release_name(self.candidate, ensemble_named(self.ensemble))
        if not broken:
            return f"{candidate} has passed its trial beside release {self.release}."
        return f"{candidate} has not passed its trial beside release {self.release}: {'; '.join(broken)}."

    def as_json(self) -> str:
        """The report as a JSON object."""
        values: dict[str, Any] = asdict(self)
        return json.dumps(
            {**values, "agreement": self.agreement, "passed": self.passed, "sentence": self.sentence}, indent=2
        )

    def as_markdown(self) -> str:
        """The report for a page of Prefect's."""
        latencies = "\n".join(f"| {' | '.join(row)} |" for row in self._latency_rows())
        rules = "\n".join(
            f"| {rule.name} | {'kept' if rule.kept else '**broken**'} | {rule.finding} |" for rule in self.rules
        )
        return (
            f"{self.sentence}\n\n| rule | | finding |\n| --- | --- | --- |\n{rules}\n\n"
            f"| {' | '.join(_LATENCY_COLUMNS)} |\n{'| --- ' * len(_LATENCY_COLUMNS)}|\n{latencies}\n"
            + "".join(f"\n{self._note(url, reason)}\n" for url, reason in self.unread.items())
        )

    def as_tables(self) -> list[Table | str]:
        """The report for a terminal."""
        rules = _table("rule", "", "finding")
        for rule in self.rules:
            rules.add_row(rule.name, "kept" if rule.kept else "broken", rule.finding)
        latencies = _table(*_LATENCY_COLUMNS)
        for row in self._latency_rows():
            latencies.add_row(*row)
        return [self.sentence, rules, latencies, *(self._note(url, reason) for url, reason in self.unread.items())]

    def _latency_rows(self) -> list[list[str]]:
        sides = ((f"release {self.release}", self.latency), (f"candidate {self.candidate}", self.candidate_latency))
        return [
            [name, str(self.calls), *(_ms(value) for value in (found.p50_ms, found.p95_ms, found.p99_ms))]
            for name, found in sides
        ]

    @staticmethod
    def _note(url: str, reason: str) -> str:
        return f"{url} could not be read ({reason}); its calls are not in these figures."


_LATENCY_COLUMNS = ("", "calls", "p50, estimated", "p95, estimated", "p99, estimated")


def report_on(
    ensemble: EnsembleSpec,
    candidate: int,
    release: int,
    traffic: TrafficSettings,
    settings: TrialSettings | None = None,
) -> TrialReport:
    """Read the traffic and hold the candidate against what it must show.

    Args:
        ensemble: whose releases they are.
        candidate: the release on trial.
        release: the one that is served.
        traffic: where the figures are.
        settings: what the candidate must show; by default the defaults of `TrialSettings`.

    Raises:
        TrafficError: no figures can be read.
    """
    pages = read_pages(traffic)
    return judge(pages.total, ensemble, candidate, release, settings or TrialSettings(), pages.unread)


def require_passed(report: TrialReport) -> None:
    """Let nothing through but a candidate that has passed.

    Raises:
        TrialRefusedError: it has not.
    """
    if not report.passed:
        raise TrialRefusedError(
            f"{report.sentence} Let the trial go on, or leave out --after-trial to promote it all the same."
        )


def judge(
    figures: Samples,
    ensemble: EnsembleSpec,
    candidate: int,
    release: int,
    settings: TrialSettings,
    unread: dict[str, str] | None = None,
) -> TrialReport:
    """The report that figures of traffic give of a candidate."""
    pair = {"model": ensemble.name, "release": str(release), "candidate": str(candidate)}
    faces = figures.by("mien_shadow_faces_total", "agreed", **pair)
    agreed, seen = round(faces.get("true", 0)), round(sum(faces.values()))
    calls = round(figures.total("mien_shadow_calls_total", **pair))
    misses = figures.by("mien_candidate_misses_total", "reason", model=ensemble.name, candidate=str(candidate))
    failed = round(misses.get("failed", 0))
    low, high = _interval(agreed, seen)
    before, after = (
        Latency.of(figures.histogram("mien_shadow_seconds", role=role, **pair)) for role in ("release", "candidate")
    )
    rules = (
        _enough(seen, ensemble.items, settings),
        _agreement(agreed, seen, low, high, ensemble.items, settings),
        _latency(before, after, settings),
        _failures(failed, calls, settings),
    )
    return TrialReport(
        ensemble=ensemble.name,
        release=release,
        candidate=candidate,
        calls=calls,
        faces=seen,
        agreed=agreed,
        low=low,
        high=high,
        failed=failed,
        dropped=round(misses.get("dropped", 0)),
        latency=before,
        candidate_latency=after,
        rules=rules,
        unread=unread or {},
    )


def _enough(seen: int, items: str, settings: TrialSettings) -> Rule:
    finding = f"{seen} classified by both; {settings.min_faces} are needed"
    return Rule(items, finding, kept=seen >= settings.min_faces)


def _agreement(agreed: int, seen: int, low: float, high: float, items: str, settings: TrialSettings) -> Rule:
    finding = f"{agreed} of {seen} {items}, interval {low:.3f} to {high:.3f}; {settings.min_agreement:g} is needed"
    return Rule("agreement", finding, kept=low >= settings.min_agreement)


def _latency(before: Latency, after: Latency, settings: TrialSettings) -> Rule:
    if before.p95_ms is None or after.p95_ms is None:
        return Rule("latency", "no calls that both answered", kept=False)
    ratio = after.p95_ms / before.p95_ms
    finding = f"p95 about {ratio:.2f} times as long; {settings.max_latency_ratio:g} is allowed"
    return Rule("latency", finding, kept=ratio <= settings.max_latency_ratio)


def _failures(failed: int, answered: int, settings: TrialSettings) -> Rule:
    asked = failed + answered
    finding = f"{failed} of {asked} calls; a share of {settings.max_failed_share:g} is allowed"
    return Rule("failures", finding, kept=failed <= settings.max_failed_share * asked)


def _interval(successes: int, trials: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes a second to import, which every command for releases would pay

    if not trials:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _table(*columns: str) -> Table:
    """Narrow enough for a terminal of 80 columns."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")
