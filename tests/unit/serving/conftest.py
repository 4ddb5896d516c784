"""A model repository small enough to break."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Protocol

import pytest

from mien.contract import EMOTION_LABELS

if TYPE_CHECKING:
    from pathlib import Path


class MakeRepository(Protocol):
    """Writes a repository whose ensemble `emotion` is pinned to `release`; gives its folder."""

    def __call__(self, name: str, *, release: int = 1, weights: bytes = b"weights") -> Path: ...


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Models whose files are not models: enough for what reads, verifies and copies them."""

    def make(name: str, *, release: int = 1, weights: bytes = b"weights") -> Path:
        root = tmp_path / name
        files = {}
        for model in ("emotion_preprocess", "emotion_classifier"):
            version = root / model / str(release)
            version.mkdir(parents=True)
            (root / model / "config.pbtxt").write_text(f'name: "{model}" backend: "onnxruntime"')
            (version / "model.onnx").write_bytes(weights)
            files[f"{model}/{release}/model.onnx"] = hashlib.sha256(weights).hexdigest()
        (root / "emotion" / str(release)).mkdir(parents=True)
        (root / "emotion" / "config.pbtxt").write_text(ensemble_config(release))
        manifest = {
            "schema": 1,
            "ensemble": "emotion",
            "release": release,
            "members": {"emotion_preprocess": release, "emotion_classifier": release},
            "twins": {},
            "files": files,
            "labels": EMOTION_LABELS,
            "dataset": {"name": "none", "digest": None},
            "metrics": {"public_test_accuracy": 0.5},
            "created_at": "2026-01-01T00:00:00Z",
            "created_by": "a test",
            "provenance": {"keras": "3"},
        }
        (root / "emotion" / str(release) / "manifest.json").write_text(json.dumps(manifest))
        return root

    return make


def ensemble_config(release: int) -> str:
    """The ensemble's config.pbtxt, as far as the release pointer goes."""
    steps = "".join(
        f'step {{ model_name: "{model}" model_version: {release} }}'
        for model in ("emotion_preprocess", "emotion_classifier")
    )
    return f"version_policy {{ specific {{ versions: [{release}] }} }} ensemble_scheduling {{ {steps} }}"
