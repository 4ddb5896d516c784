"""What chance does to a recipe: its figures with one seed after the other, their mean and how far they lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.metrics import ClassificationReport


@dataclass(frozen=True)
class Draw:
    """What a recipe reached with one seed of weights, order and changed copies; as `ClassificationReport` has it."""

    seed: int
    macro_recall: float
    accuracy: float
    macro_f1: float
    ece: float
    nll: float

    @classmethod
    def of(cls, seed: int, report: ClassificationReport) -> Draw:
        """The figures of `report`."""
        return cls(seed, report.macro_recall, report.accuracy, report.macro_f1, report.ece, report.nll)


@dataclass(frozen=True)
class Spread:
    """One figure over several draws.

    Attributes:
        mean: of the draws.
        deviation: standard deviation of one draw, with one degree of freedom taken off; 0 of a single one.
        lowest, highest: of the draws.
    """

    mean: float
    deviation: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one or more values."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), deviation, min(values), max(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.deviation:.4f} ({self.lowest:.4f} to {self.highest:.4f})"


def spreads(draws: Sequence[Draw]) -> dict[str, Spread]:
    """The spread of each figure over one or more draws, by its name."""
    figures = ("macro_recall", "accuracy", "macro_f1", "ece", "nll")
    return {figure: Spread.of([getattr(draw, figure) for draw in draws]) for figure in figures}
