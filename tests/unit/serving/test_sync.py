"""The command that an init container runs: a whole, verified release in the folder, or a sentence and an exit code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from mien.contract import EMOTION, SPEECH_EMOTION
from serving import ModelRepository
from serving.store import ReleaseStore, open_store
from serving.sync import main

if TYPE_CHECKING:
    from tests.unit.serving.conftest import MakeRepository

ROOT = Path(__file__).parents[3]


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder that a server will load: there and empty, as an emptyDir is."""
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def store(store_url: str, make_repository: MakeRepository) -> ReleaseStore:
    """A store with the releases 1 and 2, of which 1 is current."""
    store = open_store(store_url, EMOTION)
    store.push(ModelRepository(make_repository("first")), 1)
    store.push(ModelRepository(make_repository("second", release=2, weights=b"second")), 2)
    store.set_current(1, expected=None)
    return store


@dataclass
class Completed:
    """What a run of the command left behind."""

    code: int
    stdout: str
    stderr: str


class Sync(Protocol):
    """Runs the command in this process, with the environment that an init container gives it."""

    def __call__(
        self, url: str, served: Path | None, *options: str, release: str = "current", ensembles: str = "emotion"
    ) -> Completed: ...


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sync:
    def run(
        url: str, served: Path | None, *options: str, release: str = "current", ensembles: str = "emotion"
    ) -> Completed:
        monkeypatch.setenv("MIEN_RELEASE_STORE", url)
        monkeypatch.setenv("MIEN_RELEASE", release)
        monkeypatch.setenv("MIEN_ENSEMBLES", ensembles)
        monkeypatch.delenv("MIEN_MODEL_REPOSITORY", raising=False)
        if served:
            monkeypatch.setenv("MIEN_MODEL_REPOSITORY", str(served))
        code = main(options)
        return Completed(code, *capsys.readouterr())

    return run


def assert_refused(completed: Completed, code: int, *words: str) -> None:
    assert completed.code == code, completed.stderr
    for word in words:
        assert word in completed.stderr


def test_the_folder_holds_the_release_that_was_named(sync: Sync, store: ReleaseStore, served: Path) -> None:
    current = sync(store.url, served)
    assert current.stdout == (
        f"Now in {served}, of {store.url}: emotion release 1 (emotion, emotion_classifier, emotion_preprocess).\n"
    ), current.stderr
    assert ModelRepository(served).verify(EMOTION).release == 1
    assert "Already in" in sync(store.url, served).stdout
    assert sync(store.url, served, release="2").code == 0
    assert ModelRepository(served).verify(EMOTION).release == 2
    assert sorted(path.name for path in served.iterdir()) == [EMOTION.name, *sorted(m.name for m in EMOTION.members)]


@pytest.mark.parametrize("store_url", ["folder"], indirect=True)
def test_what_cannot_be_had_whole_is_refused_and_the_folder_stays(
    sync: Sync, store: ReleaseStore, served: Path, tmp_path: Path
) -> None:
    sync(store.url, served)
    files = tmp_path / "store/files"
    (weights,) = [path for path in files.iterdir() if path.read_bytes() == b"second"]
    weights.write_bytes(b"sec")  # half of a copy
    assert_refused(sync(store.url, served, release="2"), 6, f"files/{weights.name}", "is damaged")
    weights.unlink()
    assert_refused(sync(store.url, served, release="2"), 6, f"has no object files/{weights.name}")
    assert_refused(sync(store.url, served, release="7"), 6, "no release 7", "there are [1, 2]")
    assert ModelRepository(served).verify(EMOTION).release == 1
    assert not (served / ".incoming").exists()


@pytest.mark.parametrize("store_url", ["folder"], indirect=True)
def test_a_half_made_folder_is_made_anew(sync: Sync, store: ReleaseStore, served: Path) -> None:
    sync(store.url, served)
    config = served / EMOTION.name / "config.pbtxt"
    config.write_text(config.read_text().replace("1", "2"))
    (served / ".incoming/emotion").mkdir(parents=True)
    assert sync(store.url, served).code == 0
    assert ModelRepository(served).verify(EMOTION).release == 1
    assert not (served / ".incoming").exists()


def test_settings_that_make_no_sense_are_named(sync: Sync, tmp_path: Path, served: Path) -> None:
    assert_refused(sync("", served), 6, "Set MIEN_RELEASE_STORE")
    assert_refused(sync(str(tmp_path / "unmounted"), served), 6, "unmounted")
    assert_refused(sync(str(tmp_path), served), 6, "has no current release")
    assert_refused(sync(str(tmp_path), served, release="latest"), 2, "MIEN_RELEASE is 'latest'")


@pytest.mark.parametrize("store_url", ["folder"], indirect=True)
def test_the_working_copy_of_a_local_server_is_never_emptied(
    sync: Sync, store: ReleaseStore, make_repository: MakeRepository
) -> None:
    working = make_repository("working")
    (working / ".releases").mkdir()
    assert_refused(sync(store.url, working, release="2"), 6, "is the working copy of a server")
    assert_refused(sync(store.url, None), 2, "Set MIEN_MODEL_REPOSITORY")


@pytest.mark.parametrize("store_url", ["folder"], indirect=True)
def test_twins_come_along_only_when_asked_for(sync: Sync, store: ReleaseStore, served: Path) -> None:
    store.push(ModelRepository(ROOT / "model_repository"), 1, number=3)
    twin = EMOTION.twins[0].name
    assert sync(store.url, served, release="3").code == 0
    assert not (served / twin).exists()
    assert sync(store.url, served, "--twins", release="3").code == 0
    assert (served / twin / "3/model.savedmodel").is_dir()


def test_the_folder_holds_a_release_of_each_ensemble(
    sync: Sync, store: ReleaseStore, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = "emotion,speech_emotion"
    speech = open_store(store.url, SPEECH_EMOTION)
    assert_refused(sync(store.url, served, ensembles=both), 6, "has no current release of speech_emotion")
    assert not any(served.iterdir())
    speech.push(ModelRepository(ROOT / "model_repository"), 1)
    speech.set_current(1, expected=None)
    assert "emotion release 1, speech_emotion release 1" in sync(store.url, served, ensembles=both).stdout
    assert sync(store.url, served, ensembles=both, release="2").code == 0
    repository = ModelRepository(served)
    assert (repository.verify(EMOTION).release, repository.verify(SPEECH_EMOTION).release) == (2, 1)
    monkeypatch.setenv("MIEN_RELEASE_SPEECH_EMOTION", "7")
    assert_refused(sync(store.url, served, ensembles=both), 6, "no release 7 of speech_emotion")
    assert sync(store.url, served, release="2").stdout.startswith("Now in"), "without speech it is another folder"
    assert not (served / SPEECH_EMOTION.name).exists()
    assert_refused(sync(store.url, served, ensembles="emotion,smell"), 2, "MIEN_ENSEMBLES", "no ensemble 'smell'")


def test_it_needs_neither_prefect_nor_tensorflow() -> None:
    modules = "{'prefect', 'typer', 'tensorflow', 'keras', 'onnxruntime', 'fastapi'} & sys.modules.keys()"
    source = f"import sys, serving.sync, serving.probe; sys.exit(str({modules}) if {modules} else 0)"
    completed = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
