"""One trial of a search: a short training, reported epoch by epoch, and broken off when it lags behind."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import optuna
from optuna.trial import TrialState

from training.errors import TrainingError
from training.fit import BACKUP_FILE, RESULT_FILE, WEIGHTS_FILE, fit
from training.study import ERROR, RETRY_OF, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from training.config import Config
    from training.dataset import Dataset
    from training.space import Scalar

_LOG_FILE = "train.log"


@dataclass(frozen=True)
class Trial:
    """One short training.

    Attributes:
        number: Optuna's, from 0.
        state: ``complete``, ``pruned`` or ``failed``.
        values: what was tried, by field of `Config`.
        accuracy: on the validation split, of the weights that it kept; until it completes, and if it does not, the best
            over the epochs it had; None before the first one's end.
        curve: accuracy on the validation split by epoch.
        seconds: time that its epochs took, those before an interruption included.
        retry_of: the interrupted trial whose values it tried again, and whose epochs it took over.
        error: what ended it, if it failed by itself; None if it was interrupted.
    """

    number: int
    state: str
    values: dict[str, Scalar]
    accuracy: float | None
    curve: tuple[float, ...]
    seconds: float
    retry_of: int | None = None
    error: str | None = None


class _Report(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Reports each epoch to Optuna and ends a trial that lags behind."""

    def __init__(self, trial: optuna.Trial, epochs: int, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._trial = trial
        self._epochs = epochs
        self._tell = tell
        self._reported = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Report, from the first epoch on: those before an interruption are in the history."""
        past, now = self.model.history.history, logs or {}
        accuracy = [*past.get("val_accuracy", ()), now["val_accuracy"]]
        for step in range(self._reported, epoch + 1):
            self._trial.report(float(accuracy[step]), step + 1)
        self._reported = epoch + 1
        self._trial.set_user_attr(SECONDS, round(sum((*past.get("seconds", ()), now["seconds"])), 2))
        self._tell(self._trial.number)
        if epoch + 1 < self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    config: Config,
    folder: Path,
    dataset: Dataset,
    tell: Callable[[int], None],
) -> None:
    """Train once and record how it went.

    Args:
        study: whose trial it is.
        trial: with its values suggested.
        config: made of them.
        folder: of the trial; one that was interrupted goes on there.
        dataset: `train` is fitted to, `validation` measured on.
        tell: called with the trial's number after each epoch.

    Raises:
        TrainingError: it failed, and none before it had completed.
    """
    if (folder / RESULT_FILE).exists():  # killed in the moment between the training's end and the study's knowing
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / _LOG_FILE).open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            result = fit(config, dataset, folder, [_Report(trial, config.epochs, tell)])
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        trial.set_user_attr(ERROR, reason)
        study.tell(trial, state=TrialState.FAIL)
        if best_accuracy(study) is None:
            message = f"Trial {trial.number} failed before any had completed ({reason}). Its log is in {folder}."
            raise TrainingError(message) from error
    else:
        study.tell(trial, result.validation_accuracy)
    keras.utils.clear_session()
    # The figures are what a trial is for: its weights, of a short training, would only fill the disk.
    for name in (WEIGHTS_FILE, BACKUP_FILE):
        (folder / name).unlink(missing_ok=True)


def trial_of(frozen: optuna.trial.FrozenTrial) -> Trial:
    """What the study knows of a trial."""
    curve = tuple(accuracy for _, accuracy in sorted(frozen.intermediate_values.items()))
    # A recipe that keeps the last epoch is worth that one's accuracy, however high the curve was before.
    accuracy = frozen.value if frozen.state == TrialState.COMPLETE else max(curve, default=None)
    return Trial(
        number=frozen.number,
        state="failed" if frozen.state == TrialState.FAIL else frozen.state.name.lower(),
        values=dict(frozen.params),
        accuracy=accuracy,
        curve=curve,
        seconds=frozen.user_attrs.get(SECONDS, 0.0),
        retry_of=frozen.user_attrs.get(RETRY_OF),
        error=frozen.user_attrs.get(ERROR),
    )


def best_accuracy(study: optuna.Study) -> float | None:
    """Of the completed trials; None if there is none."""
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max((trial.value for trial in completed if trial.value is not None), default=None)
