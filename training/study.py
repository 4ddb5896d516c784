"""The store of a search: an Optuna study in the search's directory, which survives a kill at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# SQLite rolls a broken write back. Optuna's journal file leaves its lock behind when killed, for half a minute, and a
# torn last line for good.
STUDY_FILE = "study.sqlite3"

ERROR, FOLDER, RETRY_OF, SECONDS = "error", "folder", "retry_of", "seconds"
"""User attributes of a trial."""

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_NAME = "search"
_TURN_FILE = "turn.lock"
_IDENTITY = "identity"

_BUSY_TIMEOUT_S = 60.0
"""How long a process waits for another that writes to the same SQLite file; each write takes milliseconds."""

_COMPARABLE = 4
"""Trials that must have completed before one is held against them."""


@contextlib.contextmanager
def open_study(
    directory: Path, identity: Mapping[str, Any], epochs: int, storage: str | None = None
) -> Iterator[optuna.Study]:
    """The study of `directory`, alone with it; what was running when it was left is marked failed and tried again.

    Args:
        directory: made if it is not there.
        identity: what the search is, in JSON values; the study of another is refused.
        epochs: of each trial, for the pruner.
        storage: URL of the database that holds the study; by default a file in the directory.

    Raises:
        TrainingError: another process has the study, it is of another search, it is damaged, or the database cannot be
            used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory, alone=True), _opened(directory, epochs, storage) as study:
        _identify(study, json.loads(json.dumps(identity)), directory)
        _retry_interrupted(study)
        yield study


@contextlib.contextmanager
def join_study(
    directory: Path, identity: Mapping[str, Any], epochs: int, storage: str | None = None
) -> Iterator[optuna.Study]:
    """The study of `directory`, together with others that have joined it.

    Args:
        directory: of a study that has been opened before.
        identity: as there.
        epochs: as there.
        storage: as there.

    Raises:
        TrainingError: there is no study, somebody has it alone, or as `open_study`.
    """
    if not directory.is_dir():
        message = f"There is no search in {directory} to take part in."
        raise TrainingError(message)
    with _locked(directory, alone=False), _opened(directory, epochs, storage) as study:
        _identify(study, json.loads(json.dumps(identity)), directory)
        yield study


@contextlib.contextmanager
def turn(directory: Path) -> Iterator[None]:
    """Be the only one of those who joined a study to take a trial from it; others wait."""
    with (directory / _TURN_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def started(study: optuna.Study) -> int:
    """How many trials have come to an end by themselves or are running."""
    # At one moment: a trial that ends between two looks would be in neither.
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state == TrialState.RUNNING or _has_ended(trial) for trial in trials)


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end by themselves: all but those waiting, running or interrupted."""
    return [trial for trial in study.get_trials(deepcopy=False) if _has_ended(trial)]


def _has_ended(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state in _ENDED or (trial.state == TrialState.FAIL and ERROR in trial.user_attrs)


def _identify(study: optuna.Study, identity: dict[str, Any], directory: Path) -> None:
    known = study.user_attrs.get(_IDENTITY)
    if known is None:
        study.set_user_attr(_IDENTITY, identity)
    elif different := [name for name, value in identity.items() if known.get(name) != value]:
        message = f"{directory} holds a search with another {' and '.join(different)}. Choose another directory."
        raise TrainingError(message)


def _retry_interrupted(study: optuna.Study) -> None:
    """Nobody else has the study, so what is running there was killed."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        carried = {name: trial.user_attrs[name] for name in (FOLDER,) if name in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**carried, RETRY_OF: trial.number})


@contextlib.contextmanager
def _locked(directory: Path, *, alone: bool) -> Iterator[None]:
    """Lock the directory; the system releases the lock with the process, however that ends."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another process is searching in {directory}. Wait for its end, or choose another directory."
            raise TrainingError(message) from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _opened(directory: Path, epochs: int, url: str | None) -> Iterator[optuna.Study]:
    # A database may hold the studies of many directories.
    path = str(directory.resolve())
    name = f"{directory.name}-{hashlib.sha256(path.encode()).hexdigest()[:12]}" if url else _NAME
    # Hyperband needs more trials than tens to fill its brackets; the median of those so far works from the fifth
    # on. In the first third of a schedule accuracy says little yet.
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_COMPARABLE, n_warmup_steps=1 + epochs // 3)
    with _storage(directory / STUDY_FILE, url) as storage:
        yield optuna.create_study(
            study_name=name, storage=storage, direction="maximize", pruner=pruner, load_if_exists=True
        )


@contextlib.contextmanager
def _storage(path: Path, url: str | None) -> Iterator[optuna.storages.RDBStorage]:
    try:
        if url:
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        else:
            options = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}}
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=options)
    except (SQLAlchemyError, RuntimeError, ImportError, optuna.exceptions.OptunaError) as error:
        reason = str(error).strip().splitlines()[0]
        if url:
            shown = url.rpartition("@")[2]  # without the password
            message = f"The database of MIEN_OPTUNA_STORAGE, {shown}, cannot be used: {reason}."
        else:
            message = f"{path} is damaged, or of another version of Optuna: {reason}. Choose another directory."
        raise TrainingError(message) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
