"""Calibration error by hand, and temperatures that are known because the test put them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.calibration import TemperatureFit, apply_temperature, fit_temperature, reliability

if TYPE_CHECKING:
    from training.calibration import Predictions


def draw(count: int, temperature: float, seed: int) -> Predictions:
    """Labels drawn from probabilities, which are then spoilt so that only `temperature` makes them true again."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 5))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in honest])
    return apply_temperature(honest, 1 / temperature), labels


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])

    found = reliability(probabilities, np.array([0, 0, 1, 1]))

    assert found.ece == pytest.approx(3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * abs(0 - 0.6))
    assert sum(found.counts) == 4
    assert found.accuracy[13] == pytest.approx(2 / 3)
    assert found.accuracy[0] is None


def test_the_bins_hold_certainty_and_their_upper_limits() -> None:
    found = reliability(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 0]), bins=2)

    assert found.counts == (1, 1)
    assert found.ece == pytest.approx(0.25)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_probabilities_is_found(temperature: float) -> None:
    probabilities, labels = draw(4_000, temperature, seed=1)

    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.08)


def test_a_temperature_keeps_every_winner_and_the_sum() -> None:
    probabilities, _ = draw(50, 1.0, seed=2)

    softened = apply_temperature(probabilities.astype(np.float32), 3.0)

    np.testing.assert_array_equal(softened.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(softened.sum(axis=1), 1)


def test_overconfidence_is_mended_on_other_examples() -> None:
    fit = TemperatureFit.of(draw(2_000, 2.5, seed=3), draw(2_000, 2.5, seed=4))

    assert fit.ece_after < 0.4 * fit.ece_before
    assert fit.nll_after < fit.nll_before
    assert not fit.trained_on
    assert fit.verdict.startswith(f"Export with --temperature {fit.temperature:.3f}")


def test_a_temperature_fitted_on_training_examples_is_refused() -> None:
    labels = np.arange(500) % 5
    known = np.eye(5)[labels] * 0.9 + 0.02

    fit = TemperatureFit.of((known, labels), draw(500, 1.0, seed=5))

    assert fit.trained_on
    assert fit.verdict.startswith("Do not use")


def test_a_temperature_that_does_not_help_is_not_recommended() -> None:
    fit = TemperatureFit.of(draw(2_000, 2.5, seed=6), draw(2_000, 1.0, seed=7))

    assert fit.nll_after > fit.nll_before
    assert fit.verdict.startswith("Keep temperature 1")


def test_each_fold_is_measured_at_the_temperature_of_the_others() -> None:
    sure, honest = draw(2_000, 2.5, seed=8), draw(2_000, 1.0, seed=9)

    fit = TemperatureFit.across([sure, honest])

    crosswise = TemperatureFit.of(honest, sure), TemperatureFit.of(sure, honest)
    assert fit.nll_after == pytest.approx(np.mean([one.nll_after for one in crosswise]))
    assert fit.nll_before == pytest.approx(np.mean([one.nll_before for one in crosswise]))
    assert crosswise[0].temperature < fit.temperature < crosswise[1].temperature  # what is kept is of both
    assert fit.fitted_on == 4_000
    assert not fit.trained_on
