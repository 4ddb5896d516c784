"""Metrics against values counted by hand."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from training.errors import TrainingError
from training.metrics import classification_report

NAMES = ("calm", "anger", "joy")
LABELS = np.array([0, 0, 0, 1, 1, 1])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.1, 0.7, 0.2], [0.1, 0.9, 0.0], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]]
)


def test_counts_what_a_person_counts() -> None:
    report = classification_report(PROBABILITIES, LABELS, NAMES)
    calm, anger, joy = report.classes

    assert report.accuracy == pytest.approx(3 / 6)
    assert report.confusion == ((2, 1, 0), (1, 1, 1), (0, 0, 0))
    assert (calm.precision, calm.recall, calm.f1, calm.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert (anger.precision, anger.recall, anger.f1, anger.support) == pytest.approx((1 / 2, 1 / 3, 2 / 5, 3))
    assert (joy.precision, joy.recall, joy.f1, joy.support) == (0, None, None, 0)
    assert report.nll == pytest.approx(-np.log([0.8, 0.6, 0.1, 0.9, 0.4, 0.1]).mean())


def test_a_class_without_examples_does_not_lower_the_means() -> None:
    report = classification_report(PROBABILITIES, LABELS, NAMES)

    assert report.macro_f1 == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert report.macro_recall == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_a_report_is_json() -> None:
    report = classification_report(PROBABILITIES.astype(np.float32), LABELS, NAMES)

    values = json.loads(json.dumps(asdict(report), allow_nan=False))

    assert values["classes"][1]["label"] == "anger"
    assert values["examples"] == 6


def test_certainty_that_is_wrong_costs_much_but_not_infinitely() -> None:
    report = classification_report(np.array([[0.0, 1.0]]), np.array([0]), ("no", "yes"))

    assert 10 < report.nll < 200


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.full((2, 3), 1 / 3), np.array([0]), r"Expected \(1, 3\) probabilities.*\(2, 3\)"),
        (np.zeros((0, 3)), np.zeros(0, np.int64), "nothing to measure"),
        (np.full((1, 3), 1 / 3), np.array([3]), "Labels must be 0 to 2; got 3 to 3"),
        (np.array([[2.0, -1.0, 0.5]]), np.array([0]), "1 of 1 rows are no probabilities.*softmax"),
        (np.array([[np.nan, 0.5, 0.5]]), np.array([0]), "no probabilities"),
    ],
)
def test_what_does_not_fit_is_named(
    probabilities: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
    message: str,
) -> None:
    with pytest.raises(TrainingError, match=message):
        classification_report(probabilities, labels, NAMES)
