from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION, EMOTION_RGB96
from serving.configuration import (
    change_configs,
    check_config_set,
    pin,
    read_config,
    serve_versions,
    write_config_set,
)
from serving.errors import RepositoryError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

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


def test_a_config_set_is_the_configuration_with_a_change_and_releases_reach_it(ensemble: Path) -> None:
    def larger(config: ModelConfig) -> None:
        config.max_batch_size = 128

    write_config_set(ensemble, "large", larger)
    serve_versions(ensemble, [4])
    assert read_config(ensemble / "config.pbtxt").max_batch_size == 64
    large = read_config(ensemble / "configs/large.pbtxt")
    assert (large.max_batch_size, list(large.version_policy.specific.versions)) == (128, [4])
    check_config_set(ensemble.parent, "large")


def test_a_config_set_that_no_model_has_is_refused_with_those_there_are(ensemble: Path) -> None:
    with pytest.raises(RepositoryError, match=r"set 'fast' .*there are no sets"):
        check_config_set(ensemble.parent, "fast")
    write_config_set(ensemble, "large", lambda _config: None)
    with pytest.raises(RepositoryError, match="there are large"):
        check_config_set(ensemble.parent, "fast")
