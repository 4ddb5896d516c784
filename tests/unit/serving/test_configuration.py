from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mien.contract import EMOTION, EMOTION_RGB96
from serving.configuration import change_configs, pin, read_config, serve_versions
from serving.errors import RepositoryError

SHIPPED = Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    return shutil.copytree(SHIPPED / "emotion", tmp_path / "emotion")


def test_pinning_what_is_pinned_changes_nothing(ensemble: Path) -> None:
    before = (ensemble / "config.pbtxt").read_bytes()
    change_configs(
        ensemble, lambda config: pin(config, EMOTION, 1, dict.fromkeys(["emotion_preprocess", "emotion_classifier"], 1))
    )
    assert (ensemble / "config.pbtxt").read_bytes() == before


def test_a_release_with_other_members_gets_their_steps(ensemble: Path) -> None:
    versions = {member.name: 7 for member in EMOTION_RGB96.members}
    change_configs(ensemble, lambda config: pin(config, EMOTION_RGB96, 7, versions))
    config = read_config(ensemble / "config.pbtxt")
    first, second = config.ensemble_scheduling.step
    assert (first.model_name, second.model_name) == ("emotion_preprocess_rgb96", "emotion_classifier_rgb96")
    assert (first.model_version, second.model_version) == (7, 7)
    assert dict(first.input_map) == {"FACES": "FACES"}
    assert dict(second.output_map) == {"PROBABILITIES": "PROBABILITIES"}
    assert dict(first.output_map)["PIXELS_RGB"] == dict(second.input_map)["PIXELS_RGB"] != "PIXELS_RGB"
    assert list(config.version_policy.specific.versions) == [7]
    assert config.output[0].label_filename == "labels.txt"


def test_named_config_sets_get_the_versions_too(tmp_path: Path) -> None:
    model = shutil.copytree(SHIPPED / "emotion_classifier", tmp_path / "emotion_classifier")
    (model / "configs").mkdir()
    shutil.copyfile(model / "config.pbtxt", model / "configs/tuned.pbtxt")
    serve_versions(model, [3, 1, 3])
    for name in ("config.pbtxt", "configs/tuned.pbtxt"):
        assert list(read_config(model / name).version_policy.specific.versions) == [1, 3]


def test_a_failed_change_leaves_the_file(ensemble: Path) -> None:
    path = ensemble / "config.pbtxt"
    path.write_text("name: 'emotion' nonsense")
    with pytest.raises(RepositoryError, match="is not a model configuration"):
        serve_versions(ensemble, [1])
    assert path.read_text() == "name: 'emotion' nonsense"
    assert [entry.name for entry in ensemble.iterdir() if entry.name.startswith(".")] == []
