"""Does a probability of 0.8 come true eight times out of ten? Measured, and mended with one temperature.

Expected calibration error over bins of equal width, and temperature scaling, are those of C. Guo, G. Pleiss, Y. Sun and
K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, sections 2 and 4 (https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Predictions = tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]

BINS = 15
"""The paper's number of bins."""

TRAINED_ON_MARGIN = 0.05
"""Faces that are named this much better than unseen ones were trained on: a temperature fitted on them misleads."""

_LOG_TEMPERATURES = (np.log(0.05), np.log(20.0))
_SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, bin by bin; the top label's probability is the confidence.

    Attributes:
        edges: limits of the bins, one more than bins; a bin holds its upper limit.
        confidence: mean confidence of each bin, None in an empty one.
        accuracy: share of each bin that is right, None in an empty one.
        counts: predictions in each bin.
        ece: expected calibration error: the mean of abs(accuracy - confidence), weighted by `counts`; 0..1.
    """

    edges: tuple[float, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    counts: tuple[int, ...]
    ece: float


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature fitted on some examples, and what it changes on others.

    Attributes:
        temperature: what logits are divided by; above 1 softens, below 1 sharpens, no winner changes.
        fitted_on: how many examples it was fitted on.
        fitted_accuracy: share of these that the network names.
        measured_accuracy: the same of the examples it is measured on.
        ece_before, ece_after: calibration error on the latter.
        nll_before, nll_after: negative log-likelihood on the latter, in nats.
        after: confidence against accuracy of the latter at this temperature.
    """

    temperature: float
    fitted_on: int
    fitted_accuracy: float
    measured_accuracy: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    after: Reliability

    @classmethod
    def of(cls, fitted: Predictions, measured: Predictions) -> TemperatureFit:
        """Fit a temperature on `fitted` and measure it on `measured`, neither of which was trained on."""
        temperature = fit_temperature(*fitted)
        return cls._measured(temperature, fitted, measured, apply_temperature(measured[0], temperature))

    @classmethod
    def across(cls, folds: Sequence[Predictions]) -> TemperatureFit:
        """Fit a temperature on all of two or more folds, and measure each at one that is fitted on the others alone.

        Args:
            folds: answers to examples that the network of each fold was not trained on.
        """
        together = _together(folds)
        scaled = [
            apply_temperature(fold[0], fit_temperature(*_together([*folds[:place], *folds[place + 1 :]])))
            for place, fold in enumerate(folds)
        ]
        return cls._measured(fit_temperature(*together), together, together, np.concatenate(scaled))

    @classmethod
    def _measured(
        cls, temperature: float, fitted: Predictions, measured: Predictions, scaled: NDArray[np.float64]
    ) -> TemperatureFit:
        probabilities, labels = measured
        after = reliability(scaled, labels)
        return cls(
            temperature=temperature,
            fitted_on=len(fitted[1]),
            fitted_accuracy=_accuracy(*fitted),
            measured_accuracy=_accuracy(*measured),
            ece_before=reliability(probabilities, labels).ece,
            ece_after=after.ece,
            nll_before=negative_log_likelihood(probabilities, labels),
            nll_after=negative_log_likelihood(scaled, labels),
            after=after,
        )

    @property
    def trained_on(self) -> bool:
        """Whether the examples it was fitted on give themselves away as training examples."""
        return self.fitted_accuracy > self.measured_accuracy + TRAINED_ON_MARGIN

    @property
    def verdict(self) -> str:
        """One sentence: use it or not, and why."""
        change = f"calibration error {self.ece_before:.3f} to {self.ece_after:.3f}"
        if self.trained_on:
            return (
                f"Do not use temperature {self.temperature:.3f} ({change}): {self.fitted_accuracy:.1%} of the "
                f"{self.fitted_on:,} examples it was fitted on are named right against {self.measured_accuracy:.1%} of "
                "unseen ones, so the network was trained on them."
            )
        if self.nll_after >= self.nll_before:
            return f"Keep temperature 1: {self.temperature:.3f} does not help on unseen examples ({change})."
        return f"Export with --temperature {self.temperature:.3f}: {change} on examples it was not fitted on."


def reliability(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = BINS
) -> Reliability:
    """Sort predictions into `bins` of equal width by confidence.

    Args:
        probabilities: (N, K), each row sums to 1.
        labels: (N,), true indices.
        bins: how many.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    hits = np.bincount(place, correct, minlength=bins)
    sums = np.bincount(place, confidence, minlength=bins)
    return Reliability(
        edges=tuple(edges.tolist()),
        confidence=_means(sums, counts),
        accuracy=_means(hits, counts),
        counts=tuple(counts.tolist()),
        ece=float(np.abs(hits - sums).sum() / len(labels)),
    )


def fit_temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The temperature that makes `labels` likeliest.

    Args:
        probabilities: (N, K) of examples that were neither trained on nor will be measured on; made at temperature 1.
        labels: (N,), true indices.

    Returns:
        A number between 0.05 and 20.
    """
    logits = _logits(probabilities)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    # The likelihood is unimodal in the temperature; its logarithm makes halving as long a step as doubling.
    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def apply_temperature(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """The (N, K) probabilities as `temperature` in the export would give them."""
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1), np.float64)


def negative_log_likelihood(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Mean over the examples of minus the logarithm of the true label's probability, in nats; infinity is kept out."""
    likelihood = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(likelihood, _SMALLEST)).mean())


def _together(folds: Sequence[Predictions]) -> Predictions:
    return np.concatenate([fold[0] for fold in folds]), np.concatenate([fold[1] for fold in folds])


def _accuracy(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _logits(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logits up to a constant a row, which no softmax sees."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)), np.float64)


def _means(sums: NDArray[Any], counts: NDArray[np.int64]) -> tuple[float | None, ...]:
    return tuple(float(total / count) if count else None for total, count in zip(sums, counts, strict=True))
