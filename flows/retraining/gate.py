"""Whether a candidate may take the place of the release that is served: rules over what was measured of both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from training.comparison import Comparison, Difference
    from training.evaluate import Evaluation

Merit = Literal["accuracy", "UAR"]


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a candidate may cost, and how much worse it may be in one respect.

    Attributes:
        class_f1_loss: largest fall of any one class's F1.
        calibration_loss: largest rise of the expected calibration error.
        latency_ratio: largest p50 of one face, or window of speech, on one core, over that of the release served,
            measured in the same run.
        latency_ms: the same in milliseconds; one of the two latency rules is enough, for machines differ.
        file_mb: largest classifier file.
    """

    class_f1_loss: float = 0.1
    calibration_loss: float = 0.05
    latency_ratio: float = 1.5
    latency_ms: float = 4.0
    file_mb: float = 50.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it says of this candidate, and whether the candidate keeps it."""

    name: str
    finding: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided.

    Attributes:
        release: the release that the candidate was held against.
        rules: every rule, kept or not.
        accepted_anyway: why somebody lets the candidate through all the same; empty if nobody does.
    """

    release: int
    rules: tuple[Rule, ...]
    accepted_anyway: str = ""

    @property
    def broken(self) -> tuple[Rule, ...]:
        """The rules that the candidate breaks."""
        return tuple(rule for rule in self.rules if not rule.kept)

    @property
    def passed(self) -> bool:
        """Whether the candidate may be promoted."""
        return not self.broken or bool(self.accepted_anyway)

    @property
    def sentence(self) -> str:
        """The decision and its reasons."""
        if not self.broken:
            return f"The candidate may replace release {self.release}: it keeps all {len(self.rules)} rules."
        reasons = "; ".join(f"{rule.name} ({rule.finding})" for rule in self.broken)
        if self.accepted_anyway:
            return f"Accepted because of {self.accepted_anyway!r}, in spite of: {reasons}."
        return f"The candidate may not replace release {self.release} because of: {reasons}."

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence}


def decide(
    candidate: Evaluation,
    serving: Evaluation,
    comparison: Comparison,
    *,
    release: int,
    merit: Merit = "accuracy",
    budgets: Budgets | None = None,
    accept_anyway: str = "",
) -> Decision:
    """Hold a candidate against the release that is served.

    Args:
        candidate: measured as ONNX, on the examples that `serving` was measured on.
        serving: the release that is served, measured in the same run.
        comparison: of both, the release first.
        release: its number.
        merit: the figure that counts, besides macro-F1: recordings of emotions are few and uneven, so there it is UAR.
        budgets: limits; the defaults of `Budgets` if not given.
        accept_anyway: a reason to let a candidate through that breaks rules; it is kept with the decision.
    """
    budgets = budgets or Budgets()
    rules = (
        _not_worse(merit, comparison.macro_recall if merit == "UAR" else comparison.accuracy),
        _not_worse("macro-F1", comparison.macro_f1),
        _no_collapse(candidate, serving, budgets),
        _calibration(candidate, serving, budgets),
        _latency(candidate, serving, budgets),
        _size(candidate, budgets),
    )
    return Decision(release, rules, accept_anyway)


def _not_worse(name: str, found: Difference) -> Rule:
    """Worse only if the whole interval of the difference lies below zero: less could be chance."""
    finding = f"{found.second:.4f} against {found.first:.4f}, interval {found.low:+.4f} to {found.high:+.4f}"
    return Rule(name, finding, kept=found.high >= 0)


def _no_collapse(candidate: Evaluation, serving: Evaluation, budgets: Budgets) -> Rule:
    falls = {
        new.label: (old.f1 or 0.0) - (new.f1 or 0.0)
        for new, old in zip(candidate.report.classes, serving.report.classes, strict=True)
    }
    label, fall = max(falls.items(), key=lambda item: item[1])
    finding = f"the largest fall of F1 is {fall:.3f}, of {label}; {budgets.class_f1_loss:g} is allowed"
    return Rule("no class collapses", finding, kept=fall <= budgets.class_f1_loss)


def _calibration(candidate: Evaluation, serving: Evaluation, budgets: Budgets) -> Rule:
    new, old = candidate.report.ece, serving.report.ece
    finding = f"error {new:.3f} against {old:.3f}; {budgets.calibration_loss:g} more is allowed"
    return Rule("calibration", finding, kept=new - old <= budgets.calibration_loss)


def _latency(candidate: Evaluation, serving: Evaluation, budgets: Budgets) -> Rule:
    new, old = _p50_ms(candidate), _p50_ms(serving)
    finding = (
        f"{new:.2f} ms an example on one core against {old:.2f}; {budgets.latency_ms:g} ms or"
        f" {budgets.latency_ratio:g} times as long is allowed"
    )
    return Rule("latency", finding, kept=new <= budgets.latency_ms or new <= budgets.latency_ratio * old)


def _size(candidate: Evaluation, budgets: Budgets) -> Rule:
    size_mb = candidate.footprint.file_bytes / 1e6 if candidate.footprint else float("inf")
    finding = f"{size_mb:.1f} MB; {budgets.file_mb:g} are allowed"
    return Rule("size", finding, kept=size_mb <= budgets.file_mb)


def _p50_ms(evaluation: Evaluation) -> float:
    measured = evaluation.footprint.latency if evaluation.footprint else ()
    return next((latency.p50_ms for latency in measured if latency.batch_size == 1), float("inf"))
