"""The store on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from mien.errors import SettingsError
from mien.gateway.feedback.errors import (
    FeedbackFullError,
    FeedbackUnavailableError,
    UnknownFeedbackError,
)
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import ARRIVAL_TIMEOUT, FeedbackStore, Purged
from mien.gateway.feedback.tables import State
from tests.unit.mien.gateway.feedback.conftest import face, given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mien.gateway.feedback.conftest import Clock, MakeStore

ROOT = Path(__file__).parents[5]
SOMEBODY = "somebody.who.wants.to.be.forgotten"


def actions(store: FeedbackStore, identifier: str | None = None) -> list[tuple[str, str]]:
    return [(entry.actor, entry.action) for entry in store.audit(identifier)]


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "feedback/pictures").glob("*"))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_given_is_found_again_and_its_picture_only_with_the_key(store: FeedbackStore, tmp_path: Path) -> None:
    receipt = store.add(given(1, contributor=SOMEBODY), "key:12345678")
    found = store.find(receipt.id)
    assert (found.predicted, found.corrected, found.release) == ("happy", "sad", "1")
    assert (found.state, found.contributor) == (State.PENDING, SOMEBODY)
    assert "180 days" in found.terms
    assert receipt.expires - found.created == timedelta(days=180)
    assert store.example(receipt.id, "operator:me") == face(1)
    assert actions(store) == [("key:12345678", "given"), ("operator:me", "shown")]
    (picture,) = pictures(tmp_path)
    assert picture.name == receipt.id
    kept = everything(tmp_path)
    assert face(1)[:64] not in kept
    assert receipt.erasure_token.encode() not in kept
    key = tmp_path / "feedback/key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert Fernet(key.read_text().strip()).decrypt(picture.read_bytes()) == face(1)


def test_erasure_leaves_nothing_but_the_audit_log(store: FeedbackStore, tmp_path: Path) -> None:
    kept = store.add(given(1), "anonymous")
    gone = store.add(given(2, contributor=SOMEBODY), "anonymous")
    store.erase_with_token(gone.id, gone.erasure_token)
    with pytest.raises(UnknownFeedbackError, match=gone.id):
        store.find(gone.id)
    with pytest.raises(UnknownFeedbackError):
        store.erase_with_token(gone.id, gone.erasure_token)
    assert [path.name for path in pictures(tmp_path)] == [kept.id]
    # Not even in the free pages of the database's file.
    assert SOMEBODY.encode() not in everything(tmp_path)
    assert actions(store, gone.id) == [("anonymous", "given"), ("contributor", "erasing"), ("contributor", "erased")]


@pytest.mark.parametrize("token", ["", "wrong", "of another", "é"])
def test_only_its_own_token_erases_a_correction(store: FeedbackStore, token: str) -> None:
    other, mine = store.add(given(1), "anonymous"), store.add(given(2), "anonymous")
    with pytest.raises(UnknownFeedbackError):
        store.erase_with_token(mine.id, other.erasure_token if token == "of another" else token)
    assert store.example(mine.id, "operator:me") == face(2)


def test_all_of_one_contributor_is_erased_at_once(store: FeedbackStore, tmp_path: Path) -> None:
    for seed in range(3):
        store.add(given(seed, contributor=SOMEBODY if seed else "another"), "anonymous")
    assert len(store.erase_contributor(SOMEBODY, "operator:me")) == 2
    assert [correction.contributor for correction in store.entries()[0]] == ["another"]
    assert len(pictures(tmp_path)) == 1
    with pytest.raises(UnknownFeedbackError, match=SOMEBODY):
        store.erase_contributor(SOMEBODY, "operator:me")


def test_what_is_too_old_is_purged_whatever_became_of_it(make_store: MakeStore, clock: Clock, tmp_path: Path) -> None:
    store = make_store(retention_days=30)
    old = [store.add(given(seed), "anonymous").id for seed in range(3)]
    store.review(old[1], State.ACCEPTED, "operator:me")
    store.review(old[2], State.REJECTED, "operator:me")
    clock.wait(timedelta(days=29))
    young = store.add(given(3), "anonymous").id
    assert store.purge() == Purged()
    clock.wait(timedelta(days=1, seconds=1))
    assert store.purge() == Purged(expired=3)
    assert [correction.id for correction in store.entries()[0]] == [young]
    assert [path.name for path in pictures(tmp_path)] == [young]
    assert actions(store, old[1])[-1] == ("retention", "erased")


KILLS = """
import os, signal, sys
from mien.gateway.feedback.pictures import EncryptedPictures
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore, GivenCorrection

def run(name, is_done, act):
    original = getattr(EncryptedPictures, name)

    def killed(*arguments):
        if is_done:
            original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        setattr(EncryptedPictures, name, killed)
        act(FeedbackStore(FeedbackSettings()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

for is_done, identifier in zip((False, True), sys.argv[1:], strict=True):
    run("write", is_done, lambda store: store.add(GivenCorrection("happy", "sad", "1", b"a face"), "anonymous"))
    run("remove", is_done, lambda store: store.erase(identifier, "contributor"))
"""
"""Gateways that are killed before and after they wrote a picture, and before and after they removed one."""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # no transaction is open where it is killed
def test_what_a_killed_gateway_left_half_done_is_finished_by_the_next_purge(
    store: FeedbackStore, clock: Clock, database: str, tmp_path: Path
) -> None:
    whole, *erasing = [store.add(given(seed), "anonymous").id for seed in range(3)]
    environment = os.environ | {"MIEN_FEEDBACK_DATABASE": database}
    subprocess.run([sys.executable, "-c", KILLS, *erasing], env=environment, cwd=ROOT, check=True)
    # One that arrived without its row's knowing, one whose erasure got no further than the row.
    assert len(pictures(tmp_path)) == 1 + 1 + 1
    assert [correction.id for correction in store.entries()[0]] == [whole]
    with pytest.raises(UnknownFeedbackError):
        store.example(erasing[0], "operator:me")
    assert store.purge() == Purged(half_erased=2)  # the others might still be on their way
    clock.wait(ARRIVAL_TIMEOUT + timedelta(minutes=1))
    assert store.purge() == Purged(abandoned=2)
    assert [path.name for path in pictures(tmp_path)] == [whole]
    assert store.purge() == Purged()
    assert actions(store, erasing[0])[-2:] == [("contributor", "erasing"), ("purge", "erased")]


def test_a_picture_without_a_row_is_purged(store: FeedbackStore, tmp_path: Path) -> None:
    whole = store.add(given(0), "anonymous")
    for name in ("0" * 32, f"{'1' * 32}.new"):
        (tmp_path / "feedback/pictures" / name).write_bytes(b"left over")
    assert store.purge() == Purged(orphans=2)
    assert [path.name for path in pictures(tmp_path)] == [whole.id]


def test_one_picture_that_cannot_be_removed_does_not_keep_the_others(
    store: FeedbackStore, clock: Clock, tmp_path: Path
) -> None:
    stuck, other = (store.add(given(seed), "anonymous").id for seed in range(2))
    path = tmp_path / "feedback/pictures" / stuck
    path.unlink()
    path.mkdir()  # no file, so it is not removed like one
    clock.wait(timedelta(days=181))
    assert store.purge() == Purged(expired=2, failed=1)
    with pytest.raises(UnknownFeedbackError):
        store.find(other)
    path.rmdir()
    assert store.purge() == Purged(half_erased=1)
    assert actions(store, stuck)[-1] == ("purge", "erased")


def test_reviews_can_be_changed_and_are_noted(store: FeedbackStore) -> None:
    identifier = store.add(given(), "anonymous").id
    assert store.review(identifier, State.REJECTED, "key:aaaaaaaa").state is State.REJECTED
    found = store.review(identifier, State.ACCEPTED, "key:bbbbbbbb")
    assert (found.state, found.reviewer) == (State.ACCEPTED, "key:bbbbbbbb")
    assert [one.id for one in store.accepted()] == [identifier]
    assert actions(store)[1:] == [("key:aaaaaaaa", "rejected"), ("key:bbbbbbbb", "accepted")]
    with pytest.raises(UnknownFeedbackError, match="0000"):
        store.review("0" * 32, State.ACCEPTED, "key:aaaaaaaa")


def test_corrections_are_listed_by_state_and_page(store: FeedbackStore) -> None:
    ids = [store.add(given(seed), "anonymous").id for seed in range(4)]
    store.review(ids[2], State.ACCEPTED, "operator:me")
    assert [one.id for one in store.entries()[0]] == ids
    found, total = store.entries(State.PENDING, limit=1, offset=1)
    assert ([one.id for one in found], total) == ([ids[1]], 3)


def test_the_first_dataset_of_a_correction_is_noted_once(store: FeedbackStore) -> None:
    identifier = store.add(given(), "anonymous").id
    store.review(identifier, State.ACCEPTED, "operator:me")
    for dataset in ("first", "second"):
        store.collect(store.accepted(), dataset, "flow")
    assert store.find(identifier).collected == "first"
    assert actions(store).count(("flow", "collected")) == 1


def test_a_full_store_refuses(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(max_stored=1)
    store.add(given(0), "anonymous")
    with pytest.raises(FeedbackFullError, match="1 corrections"):
        store.add(given(1), "anonymous")
    assert len(pictures(tmp_path)) == 1


def test_a_wrong_key_cannot_read(make_store: MakeStore) -> None:
    store = make_store(key=Fernet.generate_key().decode())
    identifier = store.add(given(), "anonymous").id
    stranger = make_store(key=Fernet.generate_key().decode())
    with pytest.raises(FeedbackUnavailableError, match="MIEN_FEEDBACK_KEY"):
        stranger.example(identifier, "operator:me")
    assert actions(store, identifier) == [("anonymous", "given")]
    assert store.example(identifier, "operator:me") == face()


def test_a_picture_that_was_changed_is_not_shown(store: FeedbackStore, tmp_path: Path) -> None:
    identifier = store.add(given(), "anonymous").id
    (path,) = pictures(tmp_path)
    path.write_bytes(path.read_bytes()[:-8] + b"AAAAAAA=")
    with pytest.raises(FeedbackUnavailableError, match="damaged"):
        store.example(identifier, "operator:me")


def test_keys_in_the_file_are_rotated_and_the_old_one_reads_nothing_more(store: FeedbackStore, tmp_path: Path) -> None:
    ids = [store.add(given(seed), "anonymous").id for seed in range(3)]
    file = tmp_path / "feedback/key"
    old = Fernet(file.read_text().strip())
    assert store.rotate_keys() == 3
    assert [store.example(identifier, "operator:me") for identifier in ids] == [face(seed) for seed in range(3)]
    newest = Fernet(file.read_text().split()[0])
    for path in pictures(tmp_path):
        assert newest.decrypt(path.read_bytes())
        with pytest.raises(InvalidToken):
            old.decrypt(path.read_bytes())
    for _ in range(2):
        store.rotate_keys()
    assert len(file.read_text().split()) == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_keys_in_the_setting_are_rotated(make_store: MakeStore) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    identifier = make_store(key=old).add(given(), "anonymous").id
    assert make_store(key=f"{new},{old}").rotate_keys() == 1
    assert make_store(key=new).example(identifier, "operator:me") == face()


def test_gateways_that_start_and_work_together_lose_nothing(make_store: MakeStore, tmp_path: Path) -> None:
    stores = [make_store() for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(lambda seed: stores[seed % 4].add(given(seed), "anonymous"), range(24)))
        assert stores[0].entries()[1] == 24
        # Each by two at once, while purges go round.
        erasing = [(store, receipt) for receipt in receipts[:12] for store in stores[:2]]
        purging = [threads.submit(store.purge) for store in stores]
        list(threads.map(erase_if_there, erasing))
    assert [task.result().failed for task in purging] == [0] * 4
    left = {receipt.id for receipt in receipts[12:]}
    assert {correction.id for correction in stores[1].entries()[0]} == left
    assert {path.name for path in pictures(tmp_path)} == left
    assert actions(stores[2]).count(("contributor", "erased")) + actions(stores[2]).count(("purge", "erased")) == 12
    assert stores[0].example(receipts[20].id, "operator:me") == face(20)


def erase_if_there(one: tuple[FeedbackStore, object]) -> None:
    store, receipt = one
    try:
        store.erase_with_token(receipt.id, receipt.erasure_token)  # type: ignore[attr-defined]
    except UnknownFeedbackError:
        return


@pytest.mark.parametrize("statement", ["UPDATE feedback_audit SET actor = 'nobody'", "DELETE FROM feedback_audit"])
def test_the_audit_log_cannot_be_changed(store: FeedbackStore, database: str, statement: str) -> None:
    store.add(given(), "anonymous")
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert actions(store) == [("anonymous", "given")]


@pytest.mark.parametrize(
    ("database", "settings", "error", "words"),
    [
        ("nonsense", {}, SettingsError, "MIEN_FEEDBACK_DATABASE"),
        ("nodb://me:secret@127.0.0.1/x", {}, SettingsError, "MIEN_FEEDBACK_DATABASE"),
        ("postgresql://me:secret@127.0.0.1:9/x", {}, FeedbackUnavailableError, "127.0.0.1:9"),
        ("sqlite:////proc/none/feedback.db", {}, FeedbackUnavailableError, "/proc/none"),
        (None, {"pictures": "nofs://bucket"}, SettingsError, "MIEN_FEEDBACK_PICTURES"),
        (None, {"pictures": "/proc/none"}, FeedbackUnavailableError, "/proc/none"),
        (None, {"key": "c2hvcnQ="}, SettingsError, "MIEN_FEEDBACK_KEY"),
        (None, {"key_file": "/proc/none/key"}, SettingsError, "/proc/none/key"),
    ],
)
def test_a_place_that_cannot_be_used_is_named_without_its_password(
    database: str | None, settings: dict[str, str], error: type[Exception], words: str
) -> None:
    places = {"database": database} if database else {}
    with (
        pytest.raises(error, match=words) as caught,
        closing(FeedbackStore(FeedbackSettings(**places, **settings))) as it,
    ):
        it.add(given(), "anonymous")
    assert "secret" not in str(caught.value)


def test_what_cannot_be_kept_whole_is_not_kept(
    store: FeedbackStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def too_slow(identifier: str, content: bytes) -> None:
        write(identifier, content)
        clock.wait(ARRIVAL_TIMEOUT * 2)
        store.purge()

    write: Callable[[str, bytes], None] = store._pictures.write
    monkeypatch.setattr(store._pictures, "write", too_slow)
    with pytest.raises(FeedbackUnavailableError, match="too long"):
        store.add(given(), "anonymous")
    assert (store.entries()[1], pictures(tmp_path)) == (0, [])
