from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from serving.errors import RepositoryError
from serving.ledger import Entry, Ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    with made.lock():
        return made


def note(ledger: Ledger, *changes: tuple[Literal["promote", "rollback"], int, int]) -> None:
    for action, previous, release in changes:
        ledger.finish(Entry(action=action, ensemble="emotion", release=release, previous=previous))


def test_the_predecessor_of_a_promotion_is_what_served_before(ledger: Ledger) -> None:
    assert ledger.predecessor("emotion", 1) is None
    note(ledger, ("promote", 1, 2), ("promote", 2, 5))
    assert ledger.predecessor("emotion", 5) == 2


def test_two_rollbacks_go_back_two_releases(ledger: Ledger) -> None:
    note(ledger, ("promote", 1, 2), ("promote", 2, 3), ("rollback", 3, 2))
    assert ledger.predecessor("emotion", 2) == 1
    note(ledger, ("rollback", 2, 1))
    assert ledger.predecessor("emotion", 1) is None


def test_what_a_rollback_left_behind_is_not_gone_back_to(ledger: Ledger) -> None:
    note(ledger, ("promote", 1, 2), ("rollback", 2, 1), ("promote", 1, 3))
    assert ledger.predecessor("emotion", 3) == 1


def test_a_release_promoted_again_has_one_place(ledger: Ledger) -> None:
    note(ledger, ("promote", 1, 2), ("promote", 2, 1), ("promote", 1, 2))
    assert ledger.predecessor("emotion", 2) == 1


def test_ensembles_have_histories_of_their_own(ledger: Ledger) -> None:
    note(ledger, ("promote", 1, 2))
    assert ledger.history("speech_emotion") == []
    assert [entry.release for entry in ledger.history("emotion")] == [2]


def test_what_is_unfinished_of_one_ensemble_outlives_the_changes_of_another(ledger: Ledger) -> None:
    entry = Entry(action="promote", ensemble="emotion", release=2, previous=1)
    other = Entry(action="promote", ensemble="speech_emotion", release=3, previous=2)
    for end in (ledger.finish, ledger.abandon):
        ledger.begin(entry)
        ledger.begin(other)
        end(other)
        assert (ledger.unfinished("emotion"), ledger.unfinished("speech_emotion")) == (entry, None)
    ledger.abandon(entry)
    assert ledger.unfinished("emotion") is None


def test_a_change_is_unfinished_until_it_is_finished(ledger: Ledger) -> None:
    entry = Entry(action="promote", ensemble="emotion", release=2, previous=1)
    assert ledger.unfinished("emotion") is None
    ledger.begin(entry)
    assert ledger.unfinished("emotion") == entry
    ledger.finish(entry)
    assert ledger.unfinished("emotion") is None


def test_a_damaged_history_is_named(ledger: Ledger) -> None:
    (ledger.folder / "history.jsonl").write_text("nonsense\n")
    with pytest.raises(RepositoryError, match=r"history\.jsonl is damaged"):
        ledger.history("emotion")
