"""The store of a search: alone with its directory, true to its search, and honest about what was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from tests.unit.training.shared_study import TRIALS, share
from training.errors import TrainingError
from training.study import ERROR, FOLDER, RETRY_OF, finished, join_study, open_study

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"seed": 0, "faces": 28, "space": {"values": (1, 2)}}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_what_was_running_is_marked_failed_and_tried_again(tmp_path: Path) -> None:
    with open_study(tmp_path, IDENTITY, 2) as study:
        trial = study.ask()
        trial.set_user_attr(FOLDER, "trials/000")
        value = trial.suggest_float("dropout", 0, 1)

    with open_study(tmp_path, IDENTITY, 2) as study:
        again = study.ask()

        assert study.trials[0].state == TrialState.FAIL
        assert finished(study) == []
        assert again.suggest_float("dropout", 0, 1) == value
        assert again.user_attrs == {FOLDER: "trials/000", RETRY_OF: 0}


def test_a_trial_that_failed_by_itself_is_finished(tmp_path: Path) -> None:
    with open_study(tmp_path, IDENTITY, 2) as study:
        trial = study.ask()
        trial.set_user_attr(ERROR, "MemoryError")
        study.tell(trial, state=TrialState.FAIL)

        assert len(finished(study)) == 1


def test_another_search_is_refused_by_what_differs(tmp_path: Path) -> None:
    with open_study(tmp_path, IDENTITY, 2):
        pass

    with (
        pytest.raises(TrainingError, match=r"holds a search with another seed and faces\. Choose another directory"),
        open_study(tmp_path, IDENTITY | {"seed": 1, "faces": 14}, 2),
    ):
        pass


def test_two_searches_at_once_are_refused(tmp_path: Path) -> None:
    with (
        open_study(tmp_path, IDENTITY, 2),
        pytest.raises(TrainingError, match="Another process is searching"),
        open_study(tmp_path, IDENTITY, 2),
    ):
        pass


def test_a_damaged_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite3").write_bytes(b"this is no database, " * 100)

    with pytest.raises(TrainingError, match=r"study.sqlite3 is damaged"), open_study(tmp_path, IDENTITY, 2):
        pass


def test_those_who_join_a_study_share_it_and_keep_others_out(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no search in"), join_study(tmp_path / "none", IDENTITY, 2):
        pass
    with (
        open_study(tmp_path, IDENTITY, 2),
        pytest.raises(TrainingError, match="Another process is searching"),
        join_study(tmp_path, IDENTITY, 2),
    ):
        pass
    with join_study(tmp_path, IDENTITY, 2) as study, join_study(tmp_path, IDENTITY, 2) as same:
        assert same.ask().number == study.trials[0].number
        with pytest.raises(TrainingError, match="Another process is searching"), open_study(tmp_path, IDENTITY, 2):
            pass
    with pytest.raises(TrainingError, match="another seed"), join_study(tmp_path, IDENTITY | {"seed": 1}, 2):
        pass


def test_two_processes_share_one_file_and_take_no_trial_too_many(tmp_path: Path) -> None:
    assert share(tmp_path) == list(range(TRIALS))


def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    with (
        pytest.raises(
            TrainingError, match=r"The database of MIEN_OPTUNA_STORAGE, 127.0.0.1:9/x, cannot be used"
        ) as raised,
        open_study(tmp_path, IDENTITY, 2, "postgresql+nodriver://me:secret@127.0.0.1:9/x"),
    ):
        pass
    assert "secret" not in str(raised.value)


def test_a_database_holds_the_studies_of_many_directories(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.sqlite3"
    for name in ("first", "second"):
        with open_study(tmp_path / name, IDENTITY | {"seed": len(name)}, 2, url) as study:
            study.ask()
            assert len(study.trials) == 1
    with join_study(tmp_path / "first", IDENTITY | {"seed": 5}, 2, url) as study:
        assert len(study.trials) == 1
    assert not list(tmp_path.glob("*/study.sqlite3"))
