"""What a model's configuration must not bring along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.errors import RepositoryError
from serving.foreign_code import check_configs
from serving.settings import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = 'name: "emotion_classifier" backend: "onnxruntime"'


def written(folder: Path, text: str, name: str = "config.pbtxt") -> Path:
    model = folder / "emotion_classifier"
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_text(text)
    return model


@pytest.mark.parametrize("model", sorted(CHECKOUT.glob("model_repository/*")), ids=lambda path: path.name)
def test_what_ships_runs_no_other_code(model: Path) -> None:
    check_configs(model)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('backend: "python"', "the backend 'python'"),
        ('platform: "pytorch_libtorch"', "the backend 'pytorch_libtorch'"),
        ("", r"the backend '\(none\)'"),
        ("ensemble_scheduling {}", "the backend 'ensemble'"),
        ('backend: "onnxruntime" runtime: "model.py"', "the runtime 'model.py'"),
        ('backend: "onnxruntime" model_operations { op_library_filename: "evil.so" }', "the operators of 'evil.so'"),
        (
            'backend: "onnxruntime" parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/tmp/a.tar.gz" } }',
            "the Python of '/tmp/a.tar.gz'",
        ),
        ('backend: "onnxruntime" default_model_filename: "../../a.onnx"', "the file '../../a.onnx'"),
        ('backend: "onnxruntime" cc_model_filenames { key: "8.6" value: "/tmp/a" }', "the file '/tmp/a'"),
    ],
)
def test_a_configuration_with_other_code_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(RepositoryError, match=f"config.pbtxt would have the server run .*{what}.*Take it out"):
        check_configs(written(tmp_path, text))


def test_named_configurations_are_looked_at_too(tmp_path: Path) -> None:
    written(tmp_path, CONFIG)
    model = written(tmp_path, CONFIG.replace("onnxruntime", "python"), "configs/tuned.pbtxt")
    with pytest.raises(RepositoryError, match=r"configs/tuned.pbtxt would have the server run"):
        check_configs(model)
