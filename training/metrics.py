"""How often a classifier is right, and on which classes: for any set of labels, of faces or of voices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.calibration import negative_log_likelihood, reliability
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.calibration import Reliability

_SUM_TOLERANCE = 1e-2
"""Probabilities of an int8 graph sum to 1 this closely; rows that do not are logits or a bug."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class: of what was given its name, what share is right; of what bears it, what share was found.

    `recall` and `f1` are None where no example bears the label (`support` 0).
    """

    label: str
    precision: float
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """What one view of each example gives; plain values, so that `dataclasses.asdict` gives JSON.

    Attributes:
        examples: how many were classified.
        accuracy: share whose most probable label is theirs.
        macro_f1: mean F1 of the classes that have examples; every class counts the same.
        macro_recall: mean recall of the same classes: balanced accuracy, in speech the unweighted average recall (UAR).
        nll: mean negative log-likelihood of the true label, in nats.
        ece: expected calibration error, 0..1; the same as `reliability.ece`.
        classes: the metrics of each label, in the labels' order.
        confusion: counts; row: the true label, column: the predicted one.
        reliability: confidence against accuracy, bin by bin.
    """

    examples: int
    accuracy: float
    macro_f1: float
    macro_recall: float
    nll: float
    ece: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: Reliability

    @property
    def labels(self) -> tuple[str, ...]:
        """Meaning of the rows and columns of `confusion`."""
        return tuple(one.label for one in self.classes)


def classification_report(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], names: Sequence[str]
) -> ClassificationReport:
    """Measure predictions against labels.

    Args:
        probabilities: (N, K), each row sums to 1.
        labels: (N,), indices into `names`.
        names: the K labels.

    Raises:
        TrainingError: the arrays do not fit each other, or rows are no probabilities.
    """
    check_predictions(probabilities, labels, len(names))
    predicted = probabilities.argmax(axis=1)
    indices = np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0.0
    )
    present = support > 0
    calibration = reliability(probabilities, labels)
    return ClassificationReport(
        examples=len(labels),
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(f1[present].mean()),
        macro_recall=float(recall[present].mean()),
        nll=negative_log_likelihood(probabilities, labels),
        ece=calibration.ece,
        classes=tuple(
            ClassMetrics(
                name,
                float(precision[k]),
                float(recall[k]) if present[k] else None,
                float(f1[k]) if present[k] else None,
                int(support[k]),
            )
            for k, name in enumerate(names)
        ),
        confusion=tuple(tuple(row) for row in confusion_matrix(labels, predicted, labels=indices).tolist()),
        reliability=calibration,
    )


def check_predictions(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int) -> None:
    """Refuse arrays that do not fit each other.

    Raises:
        TrainingError: naming what does not fit.
    """
    if probabilities.ndim != 2 or probabilities.shape != (len(labels), classes) or labels.ndim != 1:
        message = f"Expected ({len(labels)}, {classes}) probabilities for the labels; got {probabilities.shape}."
        raise TrainingError(message)
    if not len(labels):
        message = "There is nothing to measure: no example was given."
        raise TrainingError(message)
    if labels.min() < 0 or labels.max() >= classes:
        message = f"Labels must be 0 to {classes - 1}; got {labels.min()} to {labels.max()}."
        raise TrainingError(message)
    wrong = ~np.isclose(probabilities.sum(axis=1), 1, atol=_SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if wrong.any():  # a NaN is close to nothing
        row = int(wrong.argmax())
        message = (
            f"{int(wrong.sum())} of {len(labels)} rows are no probabilities, the first at {row}: "
            f"{np.array2string(probabilities[row], precision=3)}. Apply a softmax first if these are logits."
        )
        raise TrainingError(message)
