"""Looks for the best values of a search space, by short trainings, each measured on the validation split."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import keras
import optuna
from optuna.trial import TrialState

from training.dataset import balanced
from training.errors import TrainingError
from training.export.manifest import environment
from training.fit import BACKUP_FILE, RESULT_FILE, WEIGHTS_FILE, fit
from training.footprint import machine
from training.space import configure
from training.study import ERROR, FOLDER, RETRY_OF, SECONDS, finished, open_study

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from training.config import Config
    from training.dataset import Dataset
    from training.space import Scalar, Space

_LOG_FILE = "train.log"
_FEWEST_FOR_IMPORTANCES = 4
"""Completed trials below which an importance would be a guess."""


@dataclass(frozen=True)
class Trial:
    """One short training.

    Attributes:
        number: Optuna's, from 0.
        state: ``complete``, ``pruned`` or ``failed``.
        values: what was tried, by field of `Config`.
        accuracy: best on the validation split over the epochs it had; None before the first one's end.
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


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what is needed to search again.

    Attributes:
        base: the configuration whose fields were varied.
        space: the values.
        epochs: of each trial.
        seed: of the suggestions.
        dataset: name, digest over all splits, and how many faces each trial was fitted to and measured on.
        trials: all, in order.
        importances: share of the differences in accuracy that each field explains; empty after too few trials.
        backend: Keras backend.
        environment: code revision, Python and package versions.
        machine: what it ran on.
        created_at: when it ended, in UTC.
    """

    base: Config
    space: Space
    epochs: int
    seed: int
    dataset: dict[str, Any]
    trials: tuple[Trial, ...]
    importances: dict[str, float]
    backend: str
    environment: dict[str, Any]
    machine: str
    created_at: str

    @property
    def best(self) -> Trial:
        """The completed trial of the best accuracy; the first of equals."""
        return max((trial for trial in self.trials if trial.state == "complete"), key=lambda trial: trial.accuracy or 0)

    @property
    def config(self) -> Config:
        """The base with the best trial's values: to be trained in full."""
        return configure(self.base, self.best.values)


@dataclass(frozen=True)
class Progress:
    """Where a search stands, after each epoch and each trial.

    Attributes:
        trial: the trial at hand; its state is ``running`` until its end.
        done: trials that have ended.
        trials: how many there are to be.
        epochs: of each trial.
        best: best accuracy of a completed trial.
    """

    trial: Trial
    done: int
    trials: int
    epochs: int
    best: float | None


def search(
    base: Config,
    space: Space,
    dataset: Dataset,
    directory: Path,
    *,
    trials: int,
    epochs: int | None = None,
    faces: int | None = None,
    seed: int = 0,
    watch: Callable[[Progress], None] = lambda _: None,
) -> SearchResult:
    """Try `trials` points of `space`, by Optuna's tree-structured Parzen estimator, and prune those that lag behind.

    Training never sees the test split, nor does the choice. What a backend raises in a trial, such as want of memory,
    fails that trial alone, unless no trial before it has completed.

    Args:
        base: the configuration whose fields are varied.
        space: which values.
        dataset: `train` is fitted to, `validation` is what is searched for.
        directory: the search's; one that was broken off goes on there, and the trial at hand from its last whole
            epoch. Gets the study and a folder a trial, with its figures and its log.
        trials: completed, pruned and failed ones in total, those of earlier calls included; interrupted ones not.
        epochs: of each trial; the base's by default.
        faces: train on a subset of so many, balanced over the classes; on all by default.
        seed: of the suggestions and of the subset. The same seed, data and results give the same suggestions, also
            when the search was broken off in between.
        watch: called after each epoch and each trial.

    Raises:
        TrainingError: the space does not fit the base, the directory holds another search or one that is running, or
            the first trial fails.
        DatasetError: the subset cannot be drawn.
    """
    short = replace(base, epochs=epochs or base.epochs)
    space.check(short)
    train = balanced(dataset.train, faces, seed) if faces else dataset.train
    seen = replace(dataset, splits={"train": train, "validation": dataset.validation})
    identity = {
        "configuration": short.as_json(),
        "space": space.as_json(),
        "dataset": dataset.digest,
        "faces": len(train),
        "seed": seed,
        "backend": keras.backend.backend(),
    }
    with open_study(directory, identity, short.epochs) as study:

        def tell(number: int) -> None:
            trial = _trial(study.get_trials(deepcopy=False)[number])
            watch(Progress(trial, len(finished(study)), trials, short.epochs, _best(study)))

        while len(finished(study)) < trials:
            tell(_run_trial(study, short, space, seen, directory, seed, tell))
        if _best(study) is None:
            message = f"No trial in {directory} has completed. Ask for more trials than {trials}."
            raise TrainingError(message)
        return SearchResult(
            base=base,
            space=space,
            epochs=short.epochs,
            seed=seed,
            dataset={
                "name": dataset.name,
                "digest": dataset.digest,
                "train_faces": len(train),
                "validation_faces": len(dataset.validation),
            },
            trials=tuple(_trial(frozen) for frozen in study.get_trials(deepcopy=False) if frozen.state.is_finished()),
            importances=_importances(study, seed),
            backend=keras.backend.backend(),
            environment=_environment(),
            machine=machine(),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


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


def _run_trial(
    study: optuna.Study,
    base: Config,
    space: Space,
    dataset: Dataset,
    directory: Path,
    seed: int,
    tell: Callable[[int], None],
) -> int:
    """Train once more and record how it went; gives the trial's number."""
    # A sampler begins anew in each process. Its seed comes from how far the search is, so an interruption changes none
    # of the suggestions, and repeats none.
    study.sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{seed}/{len(finished(study))}".encode()))
    trial = study.ask()
    folder = directory / trial.user_attrs.get(FOLDER, f"trials/{trial.number:03d}")
    trial.set_user_attr(FOLDER, str(folder.relative_to(directory)))
    if (folder / RESULT_FILE).exists():  # killed in the moment between the training's end and the study's knowing
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = configure(base, space.suggest(trial))
    try:
        with (folder / _LOG_FILE).open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            result = fit(config, dataset, folder, [_Report(trial, base.epochs, tell)])
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        trial.set_user_attr(ERROR, reason)
        study.tell(trial, state=TrialState.FAIL)
        if _best(study) is None:
            message = f"Trial {trial.number} failed before any had completed ({reason}). Its log is in {folder}."
            raise TrainingError(message) from error
    else:
        study.tell(trial, result.validation_accuracy)
    keras.utils.clear_session()
    # The figures are what a trial is for: its weights, of a short training, would only fill the disk.
    for name in (WEIGHTS_FILE, BACKUP_FILE):
        (folder / name).unlink(missing_ok=True)
    return trial.number


def _trial(frozen: optuna.trial.FrozenTrial) -> Trial:
    curve = tuple(accuracy for _, accuracy in sorted(frozen.intermediate_values.items()))
    return Trial(
        number=frozen.number,
        state="failed" if frozen.state == TrialState.FAIL else frozen.state.name.lower(),
        values=dict(frozen.params),
        accuracy=max(curve, default=None),
        curve=curve,
        seconds=frozen.user_attrs.get(SECONDS, 0.0),
        retry_of=frozen.user_attrs.get(RETRY_OF),
        error=frozen.user_attrs.get(ERROR),
    )


def _best(study: optuna.Study) -> float | None:
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max((trial.value for trial in completed if trial.value is not None), default=None)


def _importances(study: optuna.Study, seed: int) -> dict[str, float]:
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(completed) < _FEWEST_FOR_IMPORTANCES or len({trial.value for trial in completed}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _environment() -> dict[str, Any]:
    values = environment()
    return {**values, "packages": {**values["packages"], "optuna": optuna.__version__}}
