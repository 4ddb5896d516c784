from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serving.errors import RepositoryError
from serving.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.serving.conftest import MakeRepository


@pytest.fixture
def repository(make_repository: MakeRepository) -> Path:
    return make_repository("repository")


def manifest_path(repository: Path) -> Path:
    return repository / "emotion" / "1" / "manifest.json"


def test_manifest_verifies_its_files(repository: Path) -> None:
    manifest = read_manifest(manifest_path(repository))
    manifest.verify_files(repository)
    assert manifest.members == {"emotion_preprocess": 1, "emotion_classifier": 1}
    assert manifest.created_at.utcoffset() is not None


def test_damaged_file_is_named_with_both_digests(repository: Path) -> None:
    manifest = read_manifest(manifest_path(repository))
    damaged = repository / "emotion_classifier" / "1" / "model.onnx"
    damaged.write_bytes(b"other")
    expected = manifest.files["emotion_classifier/1/model.onnx"]
    found = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    with pytest.raises(RepositoryError, match=f"{damaged} is damaged.*{found}.*{expected}.*roll back"):
        manifest.verify_files(repository)


def test_missing_file_is_named(repository: Path) -> None:
    missing = repository / "emotion_preprocess" / "1" / "model.onnx"
    missing.unlink()
    with pytest.raises(RepositoryError, match=f"{missing} is missing"):
        read_manifest(manifest_path(repository)).verify_files(repository)


def test_missing_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"manifest.json is missing.*training.export"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("release", 0),
        ("files", {"../../etc/passwd": "0" * 64}),
        ("files", {"/etc/passwd": "0" * 64}),
        ("files", {"emotion/1/model.onnx": "short"}),
        ("created_at", "yesterday"),
        ("twins", {"../../elsewhere": 1}),
        ("ensemble", "/emotion"),
    ],
)
def test_wrong_field_is_named(repository: Path, field: str, value: object) -> None:
    path = manifest_path(repository)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(RepositoryError, match=f"not a release's manifest: {field}"):
        read_manifest(path)


def test_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(RepositoryError, match="not a release's manifest"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"emotion_classifier/config.pbtxt": "0" * 64}, "no file of a version of this release"),
        ({"emotion_classifier/7/model.onnx": "0" * 64}, "no file of a version of this release"),
        ({"elsewhere/1/model.onnx": "0" * 64}, "no file of a version of this release"),
        ({"model.onnx": "0" * 64}, "no file of a version of this release"),
        ({}, "no file of emotion_classifier is named"),
    ],
)
def test_manifest_names_the_files_of_its_models_versions_alone(
    repository: Path, files: dict[str, str], complaint: str
) -> None:
    path = manifest_path(repository)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))
    with pytest.raises(RepositoryError, match=complaint):
        read_manifest(path)
