from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from flows.errors import TrialRefusedError
from flows.releases.trial import TrialReport, TrialSettings, judge, read_trial_settings, require_passed
from flows.traffic.pages import Samples
from mien import Comparison, Miss, SettingsError
from mien.contract import EMOTION, SPEECH_EMOTION
from mien.metrics import TrafficMetrics

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec


def report(
    *,
    calls: int = 300,
    agreed: int = 2,
    candidate_s: float = 0.005,
    release: str = "1",
    failed: int = 0,
    ensemble: EnsembleSpec = EMOTION,
    counted: EnsembleSpec = EMOTION,
    **settings: float,
) -> TrialReport:
    """Of so many calls to `counted` with two faces, or windows, each; the report is of `ensemble`."""
    registry = CollectorRegistry()
    metrics = TrafficMetrics(registry)
    for _ in range(calls):
        metrics.count_comparison(Comparison(counted.name, release, "2", 2, agreed, 0.2, 0.005, candidate_s, "id"))
    for _ in range(failed):
        metrics.count_miss(Miss(counted.name, "failed", "2"))
    metrics.count_miss(Miss(counted.name, "dropped", "2"))
    return judge(Samples.parse(generate_latest(registry).decode()), ensemble, 2, 1, TrialSettings(**settings), {})


def broken(found: TrialReport) -> list[str]:
    return [rule.name for rule in found.rules if not rule.kept]


def test_a_candidate_that_agrees_and_is_as_quick_passes() -> None:
    found = report()
    assert found.passed
    assert (found.calls, found.faces, found.agreed, found.agreement, found.dropped) == (300, 600, 600, 1.0, 1)
    assert 0.99 < found.low < found.high <= 1
    assert found.latency == found.candidate_latency
    assert found.latency.p50_ms == pytest.approx(5, abs=1.1)
    require_passed(found)


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({"calls": 20}, ["faces"]),
        ({"agreed": 1}, ["agreement"]),
        ({"candidate_s": 0.05}, ["latency"]),
        ({"failed": 4}, ["failures"]),
        ({"failed": 4, "max_failed_share": 0.1}, []),
        ({"calls": 0}, ["faces", "agreement", "latency"]),
        ({"release": "7"}, ["faces", "agreement", "latency"]),  # a trial beside another release shows nothing
        ({"counted": SPEECH_EMOTION, "failed": 4}, ["faces", "agreement", "latency"]),  # nor does one of speech
    ],
)
def test_each_rule_can_be_broken(values: dict[str, Any], rules: list[str]) -> None:
    found = report(**values)
    assert broken(found) == rules
    assert found.passed == (not rules)


def test_the_lower_end_of_the_interval_must_reach_the_agreement_needed() -> None:
    few, many = report(calls=10, min_faces=1, min_agreement=0.9), report(min_faces=1, min_agreement=0.9)
    assert (few.agreement, many.agreement) == (1.0, 1.0)
    assert broken(few) == ["agreement"]
    assert many.passed


@pytest.mark.parametrize(
    ("ensemble", "said"),
    [
        (EMOTION, r"Release 2 has not passed.*faces \(40 classified by both; 500 are"),
        (SPEECH_EMOTION, r"Release 2 of speech_emotion has not passed.*windows of speech \(40 classified by both; 500"),
    ],
)
def test_a_refusal_says_what_is_missing(ensemble: EnsembleSpec, said: str) -> None:
    with pytest.raises(TrialRefusedError, match=said):
        require_passed(report(calls=20, ensemble=ensemble, counted=ensemble))


@pytest.mark.parametrize("ensemble", [EMOTION, SPEECH_EMOTION])
@pytest.mark.parametrize("calls", [0, 300])
def test_the_report_can_be_read_in_every_shape(calls: int, ensemble: EnsembleSpec) -> None:
    found = report(calls=calls, ensemble=ensemble, counted=ensemble)
    content = json.loads(found.as_json())
    assert (content["candidate"], content["faces"], content["passed"]) == (2, 2 * calls, calls > 0)
    assert content["ensemble"] == ensemble.name
    assert found.sentence in found.as_markdown()
    printed = io.StringIO()
    for part in found.as_tables():
        Console(width=80, file=printed).print(part)
    text = printed.getvalue()
    assert "p95, estimated" in text
    assert "candidate 2" in text
    assert "…" not in text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_TRIAL_MIN_FACES", "20")
    assert read_trial_settings().min_faces == 20
    monkeypatch.setenv("MIEN_TRIAL_MIN_AGREEMENT", "80")
    with pytest.raises(SettingsError, match="MIEN_TRIAL_MIN_AGREEMENT is '80'"):
        read_trial_settings()
