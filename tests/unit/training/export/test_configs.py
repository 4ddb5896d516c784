"""Configurations for a repository that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION, VARIANTS, EnsembleSpec
from serving.repository import ModelRepository
from training.export.configs import add_missing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    for variant in VARIANTS:
        for model in (variant, *variant.members, *variant.twins):
            (tmp_path / model.name).mkdir(exist_ok=True)
    return ModelRepository(tmp_path)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.members[-1].name)
def test_a_new_repository_serves_the_release_through_its_members(
    repository: ModelRepository, variant: EnsembleSpec
) -> None:
    add_missing(repository.path, variant, 3)

    pointer = repository.pointer(variant)
    config = repository.config(variant.name)
    preprocess, classifier = config.ensemble_scheduling.step
    between = variant.members[0].output.name
    assert pointer.release == 3
    assert pointer.members == {member.name: 3 for member in variant.members}
    assert preprocess.input_map == {variant.input.name: variant.input.name}
    assert preprocess.output_map[between] == classifier.input_map[between]
    assert classifier.output_map == {"PROBABILITIES": "PROBABILITIES"}
    for model in (*variant.members, *variant.twins):
        assert list(repository.config(model.name).version_policy.specific.versions) == [3]
    labels = (repository.path / variant.name / config.output[0].label_filename).read_text()
    assert tuple(labels.split()) == variant.labels


def test_what_is_served_stays(repository: ModelRepository) -> None:
    add_missing(repository.path, EMOTION, 1)

    for variant in VARIANTS:
        add_missing(repository.path, variant, 2)

    assert repository.pointer(EMOTION).members == {"emotion_preprocess": 1, "emotion_classifier": 1}
    assert list(repository.config("emotion_classifier").version_policy.specific.versions) == [1]
    assert list(repository.config("emotion_classifier_rgb96").version_policy.specific.versions) == [2]
