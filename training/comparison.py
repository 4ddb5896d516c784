"""Are two models really different? The same faces shown to both, with confidence intervals and a test.

The intervals are percentile intervals of the paired bootstrap (B. Efron and R. Tibshirani, "An Introduction to the
Bootstrap", 1993, chapters 13 and 16): faces are drawn again with replacement, and each drawn face brings the answers of
both models. All that accuracy and F1 see of a face is its label and the two answers, so drawing faces is drawing counts
of these triples: one multinomial draw a repetition instead of thousands of rows.

McNemar's test is the exact one (Q. McNemar, Psychometrika 12, 1947): of the faces that only one of the two names right,
either should have half if the two are equally good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from training.metrics import check_predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
REPETITIONS = 10_000
_CHUNK = 1_000


@dataclass(frozen=True)
class Difference:
    """One metric of both models, and the interval of the second's minus the first's."""

    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """The second's minus the first's."""
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """Two models on the same examples.

    Attributes:
        first, second: their names.
        examples: how many both classified.
        accuracy: share named right.
        macro_f1: mean F1 of the classes that have examples.
        macro_recall: mean recall of the same classes, in speech the unweighted average recall (UAR).
        only_first, only_second: examples that only this one names right.
        p_value: of McNemar's exact two-sided test.
        repetitions: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.
    """

    first: str
    second: str
    examples: int
    accuracy: Difference
    macro_f1: Difference
    macro_recall: Difference
    only_first: int
    only_second: int
    p_value: float
    repetitions: int
    confidence: float
    seed: int

    @property
    def verdict(self) -> str:
        """One sentence: which is better, by how much, and how sure that is."""
        gap = self.accuracy
        points = f"{abs(gap.difference) * 100:.2f} points of accuracy"
        interval = f"{self.confidence:.0%} interval {gap.low * 100:+.2f} to {gap.high * 100:+.2f}"
        test = f"McNemar p = {self.p_value:.2g}, {self.examples:,} faces"
        if self.p_value >= 1 - self.confidence:
            return (
                f"No difference is shown between {self.first} and {self.second}: {points} ({interval}; {test}) "
                "can be chance."
            )
        better, worse = (self.second, self.first) if gap.difference > 0 else (self.first, self.second)
        return f"{better} is better than {worse} by {points} ({interval}; {test})."


def compare(
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    names: tuple[str, str] = ("the first", "the second"),
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Comparison:
    """Compare the answers of two models to the same examples.

    Args:
        first: (N, K) probabilities of the first model.
        second: (N, K) probabilities of the second.
        labels: (N,) true indices.
        names: what to call the two.
        repetitions: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        TrainingError: the arrays do not fit each other, or rows are no probabilities.
    """
    classes = first.shape[-1]
    for probabilities in (first, second):
        check_predictions(probabilities, labels, classes)
    answers = first.argmax(axis=1), second.argmax(axis=1)
    # counts[label, first answer, second answer]
    counts = np.zeros((classes, classes, classes), np.int64)
    np.add.at(counts, (labels, *answers), 1)
    right = answers[0] == labels, answers[1] == labels
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    accuracy, macro_f1, macro_recall = _bootstrap(counts, repetitions, np.random.default_rng(seed))
    discordant = only_first + only_second
    return Comparison(
        first=names[0],
        second=names[1],
        examples=len(labels),
        accuracy=accuracy,
        macro_f1=macro_f1,
        macro_recall=macro_recall,
        only_first=only_first,
        only_second=only_second,
        p_value=float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
        repetitions=repetitions,
        confidence=CONFIDENCE,
        seed=seed,
    )


def _bootstrap(counts: NDArray[np.int64], repetitions: int, rng: np.random.Generator) -> list[Difference]:
    """Accuracy, macro-F1 and macro-recall of both models, and the intervals of their differences."""
    total = int(counts.sum())
    shares = counts.ravel() / total
    drawn: list[NDArray[np.float64]] = []
    for start in range(0, repetitions, _CHUNK):  # bounds the memory
        sample = rng.multinomial(total, shares, min(_CHUNK, repetitions - start)).reshape(-1, *counts.shape)
        drawn.append(np.diff(_metrics(sample), axis=2)[..., 0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), (tail, 1 - tail), axis=0)
    observed = _metrics(counts[None])[0]
    return [
        Difference(float(observed[m, 0]), float(observed[m, 1]), float(low[m]), float(high[m]))
        for m in range(len(observed))
    ]


def _metrics(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R, K, K, K) counts to (R, 3, 2): accuracy, macro-F1 and macro-recall, of the first and the second model."""
    confusions = np.stack([counts.sum(axis=3), counts.sum(axis=2)], axis=1)  # (R, model, label, answer)
    hits = np.diagonal(confusions, axis1=2, axis2=3)
    labelled, answered = confusions.sum(axis=3), confusions.sum(axis=2)
    f1 = 2 * hits / np.maximum(labelled + answered, 1)
    present = labelled > 0
    macro_f1 = (f1 * present).sum(axis=2) / present.sum(axis=2)
    macro_recall = (hits / np.maximum(labelled, 1)).sum(axis=2) / present.sum(axis=2)
    accuracy = hits.sum(axis=2) / labelled.sum(axis=2)
    return np.stack([accuracy, macro_f1, macro_recall], axis=1)
