"""A trial as a search tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest

from training.search import Progress
from training.search_display import Display
from training.study import open_study
from training.trials import best_accuracy, trial_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with open_study(tmp_path, {"seed": 0}, 3) as opened:
        yield opened


def report(study: optuna.Study, *curve: float) -> optuna.Trial:
    trial = study.ask()
    for epoch, accuracy in enumerate(curve, start=1):
        trial.report(accuracy, epoch)
    return trial


def test_a_trial_that_keeps_its_last_epoch_is_worth_what_that_one_reached(
    study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for curve in ((0.5, 0.9, 0.6), (0.4, 0.7, 0.7)):  # the first is the higher one on the way, the second at the end
        study.tell(report(study, *curve), curve[-1])
        trial = trial_of(study.trials[-1])
        Display().show(Progress(trial, len(study.trials), 2, 3, best_accuracy(study)))

    assert [trial_of(trial).accuracy for trial in study.trials] == [0.6, 0.7]
    shown = capsys.readouterr().err
    assert "complete after epoch 3: 0.6000, best 0.6000" in shown
    assert "complete after epoch 3: 0.7000, best 0.7000" in shown


def test_a_trial_that_has_not_completed_shows_the_best_it_had(study: optuna.Study) -> None:
    report(study)
    pruned = report(study, 0.3, 0.2)
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)

    assert [trial_of(trial).accuracy for trial in study.trials] == [None, 0.3]
