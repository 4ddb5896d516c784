"""How a release answers: which labels it gives, and how surely.

Of the validation faces, or windows of speech, it goes into the release's manifest, so that the answers to served
traffic can be held against it later, by `flows.traffic.drift`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.contract import CONFIDENCE_BOUNDS, EMOTION_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FACES, _MEAN = "validation_faces", "validation_mean_confidence"
_LABEL, _CONFIDENCE = "validation_predicted_{}", "validation_confidence_to_{}"


@dataclass(frozen=True, slots=True)
class AnswerProfile:
    """The answers to many faces, or windows of speech.

    Attributes:
        faces: how many.
        labels: label → share of them whose dominant emotion it is.
        confidence: share of them whose confidence is in each bucket of `mien.contract.CONFIDENCE_BOUNDS`.
        mean_confidence: mean probability of the dominant emotion.
    """

    faces: int
    labels: dict[str, float]
    confidence: tuple[float, ...]
    mean_confidence: float

    @classmethod
    def of_answers(cls, probabilities: NDArray[np.float32], names: Sequence[str] = EMOTION_LABELS) -> AnswerProfile:
        """Of (N, K) probabilities of the labels `names`, N at least 1."""
        surest, labels = probabilities.max(axis=1), probabilities.argmax(axis=1)
        buckets = np.minimum(np.searchsorted(CONFIDENCE_BOUNDS, surest, side="left"), len(CONFIDENCE_BOUNDS) - 1)
        by_label = np.bincount(labels, minlength=len(names)) / len(probabilities)
        by_bucket = np.bincount(buckets, minlength=len(CONFIDENCE_BOUNDS)) / len(probabilities)
        return cls(
            len(probabilities),
            dict(zip(names, by_label.tolist(), strict=True)),
            tuple(by_bucket.tolist()),
            float(surest.mean()),
        )

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, float], names: Sequence[str] = EMOTION_LABELS) -> AnswerProfile | None:
        """The one that a release's manifest holds among its metrics; None if it holds none."""
        try:
            return cls(
                int(metrics[_FACES]),
                {label: metrics[_LABEL.format(label)] for label in names},
                tuple(metrics[_CONFIDENCE.format(bound)] for bound in CONFIDENCE_BOUNDS),
                metrics[_MEAN],
            )
        except KeyError:
            return None

    def as_metrics(self) -> dict[str, float]:
        """As `of_metrics` takes it."""
        return {
            _FACES: self.faces,
            _MEAN: round(self.mean_confidence, 4),
            **{_LABEL.format(label): round(share, 4) for label, share in self.labels.items()},
            **{
                _CONFIDENCE.format(bound): round(share, 4)
                for bound, share in zip(CONFIDENCE_BOUNDS, self.confidence, strict=True)
            },
        }
