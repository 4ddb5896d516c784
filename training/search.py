"""Looks for the best values of a search space, by short trainings, each measured on the validation split."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import optuna
from optuna.trial import TrialState

from training.dataset import balanced
from training.errors import TrainingError
from training.export.manifest import environment
from training.footprint import machine
from training.space import configure
from training.study import FOLDER, finished, join_study, open_study, started, turn
from training.trials import Trial, best_accuracy, run_trial, trial_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from training.config import Config
    from training.dataset import Dataset
    from training.space import Space

_FEWEST_FOR_IMPORTANCES = 4
"""Completed trials below which an importance would be a guess."""


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


@dataclass(frozen=True)
class Standing:
    """How far a search is: trials still to be taken, and the best accuracy of a completed one."""

    left: int
    best: float | None


@dataclass(frozen=True)
class Search:
    """Trying points of a space, by Optuna's tree-structured Parzen estimator, and pruning those that lag behind.

    Training never sees the test split, nor does the choice. What a backend raises in a trial, such as want of memory,
    fails that trial alone, unless no trial before it has completed.

    One process does it all with `run`. Several share it if one of them calls `prepare`, then all of them `work`, and
    when they have ended one calls `conclude`; each makes the same Search for itself.

    Attributes:
        base: the configuration whose fields are varied.
        space: which values.
        dataset: `train` is fitted to, `validation` is what is searched for.
        directory: the search's; one that was broken off goes on there, and the trial at hand from its last whole
            epoch. Gets the study and a folder a trial, with its figures and its log.
        trials: completed, pruned and failed ones in total, those of earlier calls included; interrupted ones not.
        epochs: of each trial; the base's by default.
        faces: train on a subset of so many, balanced over the classes; on all by default.
        seed: of the suggestions and of the subset. In one process the same seed, data and results give the same
            suggestions, also when the search was broken off in between.
        storage: URL of the database that holds the study, for processes on several machines; by default a file in the
            directory.

    Raises:
        TrainingError: the space does not fit the base.
        DatasetError: the subset cannot be drawn.
    """

    base: Config
    space: Space
    dataset: Dataset
    directory: Path
    trials: int
    epochs: int | None = None
    faces: int | None = None
    seed: int = 0
    storage: str | None = None

    def __post_init__(self) -> None:
        self.space.check(self._short)
        self._seen  # noqa: B018 - draws the subset, while nothing has been written

    def run(self, watch: Callable[[Progress], None] = lambda _: None) -> SearchResult:
        """Take trials until there are enough.

        Args:
            watch: called after each epoch and each trial.

        Raises:
            TrainingError: the directory holds another search or one that is running, or the first trial fails.
        """
        with self._open(open_study) as study:
            self._take_trials(study, watch)
            return self._result(study)

    def prepare(self) -> Standing:
        """Make or check the study, and have what was running when it was left tried again.

        Raises:
            TrainingError: as `run`.
        """
        with self._open(open_study) as study:
            return Standing(max(0, self.trials - len(finished(study))), best_accuracy(study))

    def work(self, watch: Callable[[Progress], None] = lambda _: None) -> None:
        """Take trials, as others do at the same time, until there are enough.

        Raises:
            TrainingError: nobody has prepared the search, or as `run`.
        """
        with self._open(join_study) as study:
            self._take_trials(study, watch)

    def conclude(self) -> SearchResult:
        """What was found.

        Raises:
            TrainingError: others are still at work, or no trial has completed.
        """
        with self._open(open_study) as study:
            return self._result(study)

    @cached_property
    def _short(self) -> Config:
        return replace(self.base, epochs=self.epochs or self.base.epochs)

    @cached_property
    def _seen(self) -> Dataset:
        """What trials see of the dataset."""
        train = balanced(self.dataset.train, self.faces, self.seed) if self.faces else self.dataset.train
        return replace(self.dataset, splits={"train": train, "validation": self.dataset.validation})

    def _open(self, how: Callable[..., AbstractContextManager[optuna.Study]]) -> AbstractContextManager[optuna.Study]:
        identity = {
            "configuration": self._short.as_json(),
            "space": self.space.as_json(),
            "dataset": self.dataset.digest,
            "faces": len(self._seen.train),
            "seed": self.seed,
            "backend": keras.backend.backend(),
        }
        return how(self.directory, identity, self._short.epochs, self.storage)

    def _take_trials(self, study: optuna.Study, watch: Callable[[Progress], None]) -> None:
        def tell(number: int) -> None:
            trial = trial_of(study.get_trials(deepcopy=False)[number])
            watch(Progress(trial, len(finished(study)), self.trials, self._short.epochs, best_accuracy(study)))

        while taken := self._take(study):
            run_trial(study, *taken, self._seen, tell)
            tell(taken[0].number)

    def _take(self, study: optuna.Study) -> tuple[optuna.Trial, Config, Path] | None:
        """The next trial, its configuration and its folder; None if there are enough."""
        with turn(self.directory):
            number = started(study)
            if number >= self.trials:
                return None
            # A sampler begins anew in each process. Its seed comes from how far the search is, so an interruption
            # changes none of the suggestions, and repeats none.
            study.sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{self.seed}/{number}".encode()))
            trial = study.ask()
            folder = self.directory / trial.user_attrs.get(FOLDER, f"trials/{trial.number:03d}")
            trial.set_user_attr(FOLDER, str(folder.relative_to(self.directory)))
            return trial, configure(self._short, self.space.suggest(trial)), folder

    def _result(self, study: optuna.Study) -> SearchResult:
        if best_accuracy(study) is None:
            message = f"No trial in {self.directory} has completed. Ask for more trials than {self.trials}."
            raise TrainingError(message)
        return SearchResult(
            base=self.base,
            space=self.space,
            epochs=self._short.epochs,
            seed=self.seed,
            dataset={
                "name": self.dataset.name,
                "digest": self.dataset.digest,
                "train_faces": len(self._seen.train),
                "validation_faces": len(self._seen.validation),
            },
            trials=tuple(trial_of(frozen) for frozen in study.get_trials(deepcopy=False) if frozen.state.is_finished()),
            importances=_importances(study, self.seed),
            backend=keras.backend.backend(),
            environment=_environment(),
            machine=machine(),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _importances(study: optuna.Study, seed: int) -> dict[str, float]:
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(completed) < _FEWEST_FOR_IMPORTANCES or len({trial.value for trial in completed}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _environment() -> dict[str, Any]:
    values = environment()
    return {**values, "packages": {**values["packages"], "optuna": optuna.__version__}}
