from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION, SPEECH_EMOTION
from serving.errors import RepositoryError
from serving.repository import ModelRepository, install_shipped, models_of

if TYPE_CHECKING:
    from tests.unit.serving.conftest import MakeRepository

SHIPPED = Path(__file__).parents[3] / "model_repository"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pointer_is_read_from_the_ensemble(make_repository: MakeRepository) -> None:
    repository = ModelRepository(make_repository("repository", release=3))
    pointer = repository.pointer(EMOTION)
    assert (pointer.release, pointer.members) == (3, {"emotion_preprocess": 3, "emotion_classifier": 3})
    assert repository.releases(EMOTION) == [3]
    assert repository.verify(EMOTION).release == 3


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("versions: [1]", "versions: [1, 2]"), ("model_version: 1", "model_version: -1"), ("specific", "latest")],
)
def test_open_pointer_is_refused(make_repository: MakeRepository, right: str, wrong: str) -> None:
    folder = make_repository("repository")
    config = folder / "emotion" / "config.pbtxt"
    config.write_text(config.read_text().replace(right, wrong))
    with pytest.raises(RepositoryError, match=str(config)):
        ModelRepository(folder).pointer(EMOTION)


def test_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="is not a model repository of Mien"):
        ModelRepository(tmp_path).verify(EMOTION)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"members": {"emotion_preprocess": 1, "emotion_classifier": 2}}, "pins release 1"),
        ({"release": 2}, "tells of release 2"),
        ({"labels": ["happy", "sad"]}, "the contract says"),
    ],
)
def test_manifest_that_contradicts_is_refused(
    make_repository: MakeRepository, change: dict[str, object], complaint: str
) -> None:
    folder = make_repository("repository")
    path = folder / "emotion" / "1" / "manifest.json"
    manifest = json.loads(path.read_text()) | change
    if "members" in change:
        (folder / "emotion_classifier" / "1").rename(folder / "emotion_classifier" / "2")
        manifest["files"]["emotion_classifier/2/model.onnx"] = manifest["files"].pop("emotion_classifier/1/model.onnx")
    path.write_text(json.dumps(manifest))
    with pytest.raises(RepositoryError, match=complaint):
        ModelRepository(folder).verify(EMOTION)


def test_a_file_that_the_manifest_does_not_name_is_refused(make_repository: MakeRepository) -> None:
    folder = make_repository("repository")
    (folder / "emotion_classifier" / "1" / "weights.bin").write_bytes(b"read by the model")
    with pytest.raises(RepositoryError, match=r"weights.bin is no part of release 1"):
        ModelRepository(folder).verify(EMOTION)


def test_first_start_copies_the_shipped_repository(make_repository: MakeRepository, tmp_path: Path) -> None:
    shipped = make_repository("shipped")
    working = install_shipped(ModelRepository(shipped), tmp_path / "state" / "working")
    assert content(working.path) == content(shipped)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["working"]


def test_current_copy_is_left_alone(make_repository: MakeRepository, tmp_path: Path) -> None:
    shipped = ModelRepository(make_repository("shipped"))
    working = install_shipped(shipped, tmp_path / "working").path
    (working / "mine").mkdir()
    (working / "mine" / "config.pbtxt").touch()
    inode = working.stat().st_ino
    install_shipped(shipped, working)
    assert working.stat().st_ino == inode


def test_damaged_copy_is_replaced_and_kept_beside(make_repository: MakeRepository, tmp_path: Path) -> None:
    shipped = ModelRepository(make_repository("shipped"))
    working = install_shipped(shipped, tmp_path / "working").path
    for damage in (b"first", b"second"):
        (working / "emotion_classifier" / "1" / "model.onnx").write_bytes(damage)
        install_shipped(shipped, working)
        assert content(working) == content(shipped.path)
        assert (tmp_path / "working.previous" / "emotion_classifier" / "1" / "model.onnx").read_bytes() == damage


def test_stale_copy_is_replaced(make_repository: MakeRepository) -> None:
    working = make_repository("working", weights=b"old")
    shipped = make_repository("shipped", release=2, weights=b"new")
    assert install_shipped(ModelRepository(shipped), working).verify(EMOTION).release == 2


def test_published_release_is_never_overwritten(make_repository: MakeRepository) -> None:
    working = make_repository("working", release=2, weights=b"published here")
    before = content(working)
    install_shipped(ModelRepository(make_repository("shipped")), working)
    assert content(working) == before


def test_an_ensemble_that_a_copy_lacks_is_installed_beside_what_was_published_there(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    working = make_repository("working", release=2, weights=b"published here")
    before = content(working)
    speech = {f"{name}/{file}" for name in models_of(SPEECH_EMOTION) for file in content(SHIPPED / name)}
    install_shipped(ModelRepository(SHIPPED), working)
    after = content(working)
    assert after == before | {name: (SHIPPED / name).read_bytes() for name in speech}
    assert ModelRepository(working).verify(SPEECH_EMOTION).release == 1
    (working / "speech_emotion/config.pbtxt").unlink()
    (working / "speech_classifier/1/model.onnx").write_bytes(b"half")
    assert content(install_shipped(ModelRepository(SHIPPED), working).path) == after


def test_damaged_shipped_repository_leaves_the_copy_alone(make_repository: MakeRepository, tmp_path: Path) -> None:
    shipped = ModelRepository(make_repository("shipped"))
    working = install_shipped(shipped, tmp_path / "working").path
    before = content(working)
    (shipped.path / "emotion_classifier" / "1" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(RepositoryError, match=r"shipped.*damaged"):
        install_shipped(shipped, working)
    assert content(working) == before


def test_folder_that_cannot_be_written_names_the_setting(make_repository: MakeRepository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RepositoryError, match="MIEN_MODEL_REPOSITORY"):
        install_shipped(ModelRepository(make_repository("shipped")), tmp_path / "file" / "working")
