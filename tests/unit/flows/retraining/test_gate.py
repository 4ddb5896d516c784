"""The gate's rules, on measurements made from real answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flows.retraining.gate import Budgets, Decision, decide
from mien.contract import EMOTION_LABELS
from training.comparison import compare
from training.evaluate import Evaluation
from training.footprint import Footprint, Latency
from training.metrics import classification_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACES = 700
LABELS = np.arange(FACES) % len(EMOTION_LABELS)


def answers(right: float, *, sure: float = 0.9, never: int | None = None) -> NDArray[np.float64]:
    """Probabilities that name the first `right` of each class's faces right, and never the label `never`."""
    named = np.where(
        np.arange(FACES) // len(EMOTION_LABELS) < right * FACES / len(EMOTION_LABELS), LABELS, (LABELS + 1) % 7
    )
    if never is not None:
        named = np.where(named == never, (never + 1) % 7, named)
    rows = np.full((FACES, len(EMOTION_LABELS)), (1 - sure) / (len(EMOTION_LABELS) - 1))
    rows[np.arange(FACES), named] = sure
    return rows


def evaluation(rows: NDArray[np.float64], *, p50_ms: float = 1.0, file_bytes: int = 5_000_000) -> Evaluation:
    return Evaluation(
        model="a model",
        kind="ONNX",
        sha256="0" * 64,
        dataset="made",
        digest="0" * 64,
        split="validation",
        report=classification_report(rows, LABELS, EMOTION_LABELS),
        temperature=None,
        robustness=(),
        footprint=Footprint(file_bytes, 1, 1, (Latency(1, p50_ms, p50_ms, 1),)),
        mistakes=(),
        environment={},
        machine="",
        created_at="",
    )


def judge(
    candidate: NDArray[np.float64], serving: NDArray[np.float64], accept_anyway: str = "", **of: float
) -> Decision:
    return decide(
        evaluation(candidate, **of),
        evaluation(serving),
        compare(serving, candidate, LABELS, repetitions=500),
        release=4,
        accept_anyway=accept_anyway,
    )


def broken(decision: Decision) -> set[str]:
    return {rule.name for rule in decision.broken}


def test_a_better_candidate_passes() -> None:
    decision = judge(answers(0.9), answers(0.8))
    assert decision.passed
    assert "may replace release 4: it keeps all 6 rules" in decision.sentence


def test_a_little_worse_could_be_chance() -> None:
    swapped = answers(0.8)
    # Two faces that only the one names right, and one that only the other does.
    rows = np.flatnonzero(np.argmax(swapped, axis=1) == LABELS)[:2]
    swapped[rows] = np.roll(swapped[rows], 1, axis=1)
    wrong = np.flatnonzero(np.argmax(swapped, axis=1) != LABELS)[-1]
    swapped[wrong] = np.roll(swapped[wrong], -1)
    decision = judge(swapped, answers(0.8))
    assert decision.passed, decision.sentence
    assert "0.7986 against 0.8000" in decision.rules[0].finding


def test_a_worse_candidate_is_refused_with_figures() -> None:
    decision = judge(answers(0.6), answers(0.8))
    assert not decision.passed
    assert {"accuracy", "macro-F1"} <= broken(decision)
    assert "accuracy (0.6000 against 0.8000, interval" in decision.sentence


def test_a_class_that_is_never_named_is_noticed() -> None:
    assert "no class collapses" in broken(judge(answers(0.9, never=1), answers(0.6)))


def test_overconfidence_is_noticed() -> None:
    assert broken(judge(answers(0.8, sure=0.999), answers(0.8, sure=0.8))) == {"calibration"}


@pytest.mark.parametrize(("p50_ms", "passes"), [(3.9, True), (4.1, False)])
def test_a_slow_candidate_is_refused(p50_ms: float, *, passes: bool) -> None:
    assert judge(answers(0.8), answers(0.8), p50_ms=p50_ms).passed is passes


def test_a_large_candidate_is_refused() -> None:
    assert broken(judge(answers(0.8), answers(0.8), file_bytes=60_000_000)) == {"size"}


def test_a_reason_lets_it_pass_and_is_kept() -> None:
    decision = judge(answers(0.5), answers(0.8), accept_anyway="a trial")
    assert decision.passed
    assert decision.sentence.startswith("Accepted because of 'a trial', in spite of: accuracy")
    assert decision.as_json()["passed"] is True
    assert not replace(decision, accepted_anyway="").passed


def test_budgets_can_be_set() -> None:
    candidate, serving = evaluation(answers(0.8), file_bytes=60_000_000), evaluation(answers(0.8))
    comparison = compare(answers(0.8), answers(0.8), LABELS, repetitions=100)
    assert decide(candidate, serving, comparison, release=1, budgets=Budgets(file_mb=100)).passed


def test_of_speech_the_unweighted_recall_counts() -> None:
    served, worse = answers(0.9), answers(0.5)
    decision = decide(
        evaluation(worse), evaluation(served), compare(served, worse, LABELS, repetitions=500), release=4, merit="UAR"
    )
    assert "UAR" in broken(decision)
    assert "accuracy" not in {rule.name for rule in decision.rules}
