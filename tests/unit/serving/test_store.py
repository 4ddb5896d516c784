"""Releases in a store: pushed whole or not at all, verified when pulled, and current only by whoever saw what was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION
from serving import ModelRepository, PublishError, RepositoryError
from serving.checkout import check_out
from serving.errors import StoreConflictError, StoreError
from serving.store import ReleaseStore, open_store

if TYPE_CHECKING:
    from tests.unit.serving.conftest import MakeRepository

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(store_url: str) -> ReleaseStore:
    return open_store(store_url, EMOTION)


@pytest.fixture
def folder_store(tmp_path: Path) -> ReleaseStore:
    """A store whose objects a test can reach."""
    (tmp_path / "store").mkdir()
    return open_store(str(tmp_path / "store"), EMOTION)


@pytest.fixture
def pusher(make_repository: MakeRepository) -> ModelRepository:
    return ModelRepository(make_repository("pusher", release=2, weights=b"second"))


@pytest.fixture
def puller(make_repository: MakeRepository) -> ModelRepository:
    return ModelRepository(make_repository("puller"))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_release_is_pushed_once_and_pulled_under_its_number(
    store: ReleaseStore, pusher: ModelRepository, puller: ModelRepository
) -> None:
    assert store.releases() == []
    assert store.push(pusher, 2)
    assert not store.push(pusher, 2)
    assert store.releases() == [2]
    assert store.manifest(2) == pusher.manifest(EMOTION, 2)
    pulled, again = store.pull(2, puller), store.pull(2, puller)
    assert (pulled.manifest.release, pulled.is_new, again.is_new) == (2, True, False)
    assert puller.releases(EMOTION) == [1, 2]
    assert puller.verify_release(EMOTION, 2) == pusher.manifest(EMOTION, 2)
    assert puller.pointer(EMOTION).release == 1
    assert not (puller.path / ".releases/download").exists()


def test_another_release_of_the_same_number_is_refused_until_it_gets_one_of_its_own(
    store: ReleaseStore, pusher: ModelRepository, make_repository: MakeRepository
) -> None:
    other = ModelRepository(make_repository("other", release=2, weights=b"other"))
    store.push(pusher, 2)
    with pytest.raises(StoreConflictError, match=r"has another release 2, made by a test at .*push N --as 3"):
        store.push(other, 2)
    assert store.manifest(2) == pusher.manifest(EMOTION, 2)
    with pytest.raises(PublishError, match="has another release 2 of its own"):
        store.pull(2, other)
    assert store.push(other, 2, number=3)
    assert store.pull(3, other).manifest.content == other.manifest(EMOTION, 2).content
    assert other.releases(EMOTION) == [2, 3]


def test_of_two_pushers_at_once_the_slower_is_refused_and_nothing_is_mixed(
    store: ReleaseStore,
    pusher: ModelRepository,
    puller: ModelRepository,
    make_repository: MakeRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = ModelRepository(make_repository("other", release=2, weights=b"other"))
    upload, quicker = store._push_file, [True]

    def interrupted(file: Path, digest: str) -> None:
        upload(file, digest)
        if quicker:
            quicker.clear()
            assert store.push(other, 2)

    monkeypatch.setattr(store, "_push_file", interrupted)
    with pytest.raises(StoreConflictError):
        store.push(pusher, 2)
    assert store.pull(2, puller).manifest.content == other.manifest(EMOTION, 2).content


def test_a_release_that_is_damaged_here_is_not_pushed(store: ReleaseStore, pusher: ModelRepository) -> None:
    (pusher.path / "emotion_classifier/2/model.onnx").write_bytes(b"")
    with pytest.raises(RepositoryError, match="is damaged"):
        store.push(pusher, 2)
    assert store.releases() == []


def test_current_is_changed_only_by_whoever_knows_what_it_was(
    store: ReleaseStore, pusher: ModelRepository, make_repository: MakeRepository
) -> None:
    store.push(ModelRepository(make_repository("first")), 1)
    store.push(pusher, 2)
    assert store.current() is None
    with pytest.raises(StoreConflictError, match="served instead of 1, but somebody else"):
        store.set_current(2, expected=1)
    store.set_current(1, expected=None)
    second = store.set_current(2, expected=1)
    assert store.current() == second
    assert (second.release, second.previous) == (2, 1)
    with pytest.raises(StoreConflictError):
        store.set_current(1, expected=1)
    with pytest.raises(StoreError, match=r"There is no release 7 of emotion in .*; there are \[1, 2\]"):
        store.set_current(7, expected=2)


def test_a_current_that_moves_in_the_last_moment_is_not_written_over(
    store: ReleaseStore, pusher: ModelRepository, make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push(ModelRepository(make_repository("first")), 1)
    store.push(pusher, 2)
    store.set_current(1, expected=None)
    read = store._objects.read

    def overtaken(name: str) -> object:
        found = read(name)
        if name.endswith("current.json"):
            monkeypatch.setattr(store._objects, "read", read)
            store.set_current(2, expected=1)
        return found

    monkeypatch.setattr(store._objects, "read", overtaken)
    with pytest.raises(StoreConflictError):
        store.set_current(1, expected=1)
    current = store.current()
    assert current is not None
    assert current.release == 2


def test_a_damaged_object_is_named_and_mended_by_another_push(
    folder_store: ReleaseStore, pusher: ModelRepository, puller: ModelRepository, tmp_path: Path
) -> None:
    folder_store.push(pusher, 2)
    before = files(puller.path)
    (damaged,) = [path for path in (tmp_path / "store/files").iterdir() if path.read_bytes() == b"second"]
    damaged.write_bytes(b"sec0nd")
    with pytest.raises(StoreError, match=f"files/{damaged.name} in .*is damaged.*Delete it and push the release again"):
        folder_store.pull(2, puller)
    damaged.unlink()
    with pytest.raises(StoreError, match=f"has no object files/{damaged.name}. Push the release again"):
        folder_store.pull(2, puller)
    assert files(puller.path) == before | {".releases/download.lock"}
    assert not folder_store.push(pusher, 2)
    assert folder_store.pull(2, puller).is_new


def test_a_damaged_record_is_named(folder_store: ReleaseStore, pusher: ModelRepository, tmp_path: Path) -> None:
    folder_store.push(pusher, 2)
    folder_store.set_current(2, expected=None)
    for name in ("releases/2.json", "current.json"):
        (tmp_path / "store/emotion" / name).write_text("{")
    with pytest.raises(StoreError, match=r"emotion/releases/2.json in .* is damaged. Delete it and push"):
        folder_store.manifest(2)
    with pytest.raises(StoreError, match=r"emotion/current.json in .* is damaged. Delete it and say again"):
        folder_store.current()


def test_a_record_whose_paths_lead_out_of_the_repository_is_refused(
    folder_store: ReleaseStore, pusher: ModelRepository, tmp_path: Path
) -> None:
    folder_store.push(pusher, 2)
    record = tmp_path / "store/emotion/releases/2.json"
    record.write_text(record.read_text().replace("emotion_classifier/2/model.onnx", "../../outside"))
    with pytest.raises(StoreError, match="is damaged"):
        folder_store.manifest(2)


KILLED_PUSHER = """
import os, pathlib, signal, sys
from mien.contract import EMOTION
from serving import ModelRepository
from serving.store import open_store
store, left = open_store(sys.argv[2], EMOTION), [int(sys.argv[3])]
def dying(real):
    def call(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call
for name in ("upload", "write"):
    setattr(store._objects, name, dying(getattr(store._objects, name)))
store.push(ModelRepository(pathlib.Path(sys.argv[1])), 2)
"""


@pytest.mark.parametrize(("store_url", "step"), [("folder", 3), ("s3", 5)], indirect=["store_url"])
def test_a_killed_pusher_has_pushed_nothing_and_the_next_goes_on(
    store_url: str, store: ReleaseStore, pusher: ModelRepository, puller: ModelRepository, step: int
) -> None:
    # Its files are the ensemble's configuration, those of both members, and the weights they share; then the record.
    command = [sys.executable, "-c", KILLED_PUSHER, str(pusher.path), store_url, str(step)]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert store.releases() == []
    with pytest.raises(StoreError, match=r"There is no release 2 of emotion in .*; there are \[\]"):
        store.pull(2, puller)
    assert store.push(pusher, 2)
    assert store.pull(2, puller).is_new


def test_a_folder_is_made_to_hold_a_release_alone(
    store: ReleaseStore, pusher: ModelRepository, make_repository: MakeRepository, tmp_path: Path
) -> None:
    store.push(ModelRepository(make_repository("first")), 1)
    store.push(pusher, 2)
    served = ModelRepository(tmp_path / "served")
    assert check_out({store: 1}, served.path)
    assert check_out({store: 2}, served.path)
    assert not check_out({store: 2}, served.path)
    assert served.releases(EMOTION) == [2]
    assert served.verify(EMOTION).release == 2
    assert list(served.config("emotion_classifier").version_policy.specific.versions) == [2]
    (served.path / "emotion_classifier/2/model.onnx").write_bytes(b"damaged")
    assert check_out({store: 2}, served.path)
    assert served.verify(EMOTION)


def test_a_folder_with_something_else_in_it_is_left_alone(
    store: ReleaseStore, pusher: ModelRepository, tmp_path: Path
) -> None:
    store.push(pusher, 2)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").touch()
    with pytest.raises(StoreError, match=r"holds thesis.txt, which is no model. Name an empty folder"):
        check_out({store: 2}, tmp_path / "home")
    assert files(tmp_path / "home") == {"thesis.txt"}
