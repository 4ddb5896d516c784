"""The comparison against a plain resampling of rows, and against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from training.comparison import compare
from training.errors import TrainingError


def answers(
    labels: np.ndarray[tuple[int], np.dtype[np.int64]], right: float, seed: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One-hot probabilities of three classes, a share `right` of them as in `labels`."""
    rng = np.random.default_rng(seed)
    guesses = np.where(rng.random(len(labels)) < right, labels, (labels + rng.integers(1, 3, len(labels))) % 3)
    return np.eye(3)[guesses]


LABELS = np.random.default_rng(0).integers(0, 3, 600)


def test_intervals_agree_with_resampling_rows() -> None:
    first, second = answers(LABELS, 0.7, 1), answers(LABELS, 0.75, 2)
    found = compare(first, second, LABELS)

    rng = np.random.default_rng(3)
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    gaps = []
    for _ in range(400):
        rows = rng.integers(0, len(LABELS), len(LABELS))
        scores = [f1_score(LABELS[rows], one[rows], average="macro") for one in (a, b)]
        gaps.append(scores[1] - scores[0])

    assert found.macro_f1.first == pytest.approx(f1_score(LABELS, a, average="macro"))
    assert found.macro_f1.second == pytest.approx(f1_score(LABELS, b, average="macro"))
    assert (found.macro_f1.low, found.macro_f1.high) == pytest.approx(
        tuple(np.quantile(gaps, (0.025, 0.975))), abs=0.01
    )
    assert found.accuracy.low < found.accuracy.difference < found.accuracy.high


def test_a_model_is_no_better_than_itself() -> None:
    same = answers(LABELS, 0.7, 1)

    found = compare(same, same, LABELS, names=("old", "new"))

    assert (found.accuracy.low, found.accuracy.high, found.p_value) == (0, 0, 1)
    assert found.verdict.startswith("No difference is shown between old and new")


@pytest.mark.parametrize("swapped", [False, True])
def test_the_better_model_is_named_whichever_comes_first(swapped: bool) -> None:
    models = [answers(LABELS, 0.6, 1), answers(LABELS, 0.8, 2)]
    names = ("weak", "strong")
    if swapped:
        models, names = models[::-1], names[::-1]

    found = compare(models[0], models[1], LABELS, names=names)

    assert found.p_value < 1e-6
    assert found.verdict.startswith("strong is better than weak by")


def test_mcnemar_counts_the_faces_that_one_alone_names_right() -> None:
    labels = np.zeros(12, np.int64)
    first, second = np.zeros((12, 2)), np.zeros((12, 2))
    first[:, 0] = second[:, 0] = 1.0
    first[:9] = second[9] = (0.0, 1.0)

    found = compare(first, second, labels)

    assert (found.only_first, found.only_second) == (1, 9)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # two tails of ten coin tosses with at most one head


def test_the_same_seed_gives_the_same_intervals() -> None:
    first, second = answers(LABELS, 0.7, 1), answers(LABELS, 0.75, 2)

    assert compare(first, second, LABELS, seed=5) == compare(first, second, LABELS, seed=5)


def test_answers_to_other_questions_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"Expected \(600, 3\)"):
        compare(answers(LABELS, 0.7, 1), answers(LABELS[:-1], 0.7, 1), LABELS)
