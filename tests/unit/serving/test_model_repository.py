"""The repository that ships with Mien, held against the contract."""

from __future__ import annotations

import pytest

from mien.contract import ENSEMBLES, MAX_BATCH_SIZE, VARIANTS, EnsembleSpec, ModelSpec, TensorSpec
from serving.manifest import MANIFEST_NAME
from serving.repository import ModelRepository
from serving.settings import CHECKOUT

REPOSITORY = ModelRepository(CHECKOUT / "model_repository")
MODELS = [model for ensemble in VARIANTS for model in (*ensemble.members, *ensemble.twins)]

each_ensemble = pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda ensemble: ensemble.name)
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def wire(spec: TensorSpec) -> tuple[str, str, list[int]]:
    return spec.name, f"TYPE_{spec.datatype}", list(spec.shape)


def tensors(configured: object) -> list[tuple[str, str, list[int]]]:
    return [
        (
            t.name,
            type(t).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[t.data_type].name,
            list(t.dims),
        )
        for t in configured
    ]


@pytest.mark.parametrize("spec", [*ENSEMBLES, *MODELS], ids=lambda spec: spec.name)
def test_tensors_are_the_contract_s(spec: EnsembleSpec | ModelSpec) -> None:
    config = REPOSITORY.config(spec.name)
    assert config.name == spec.name
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert tensors(config.input) == [wire(spec.input)]
    assert tensors(config.output) == [wire(spec.output)]


@each_model
def test_model_is_batched_bounded_and_warm(model: ModelSpec) -> None:
    config = REPOSITORY.config(model.name)
    assert config.backend == model.backend
    assert list(config.version_policy.specific.versions) == [1]
    assert [group.kind for group in config.instance_group] == [config.instance_group[0].KIND_AUTO]
    policy = config.dynamic_batching.default_queue_policy
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert policy.timeout_action == policy.REJECT
    assert policy.max_queue_size > 0
    assert policy.default_timeout_microseconds > 0
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, MAX_BATCH_SIZE]
    for warmup in config.model_warmup:
        assert set(warmup.inputs) == {model.input.name}


@each_ensemble
def test_ensemble_pins_its_members(ensemble: EnsembleSpec) -> None:
    config = REPOSITORY.config(ensemble.name)
    steps = config.ensemble_scheduling.step
    assert [step.model_name for step in steps] == [member.name for member in ensemble.members]
    assert REPOSITORY.pointer(ensemble).members == {member.name: 1 for member in ensemble.members}
    flowing = ensemble.input.name
    for step, member in zip(steps, ensemble.members, strict=True):
        assert dict(step.input_map) == {member.input.name: flowing}
        flowing = step.output_map[member.output.name]
    assert flowing == ensemble.output.name


@each_ensemble
def test_labels_are_the_contract_s(ensemble: EnsembleSpec) -> None:
    (output,) = REPOSITORY.config(ensemble.name).output
    labels = (REPOSITORY.path / ensemble.name / output.label_filename).read_text().splitlines()
    assert tuple(labels) == ensemble.labels


@each_ensemble
def test_shipped_release_matches_its_manifest(ensemble: EnsembleSpec) -> None:
    manifest = REPOSITORY.verify(ensemble)
    assert manifest.twins == {twin.name: 1 for twin in ensemble.twins}
    models = {ensemble.name: manifest.release} | manifest.members | manifest.twins
    versions = [REPOSITORY.path / name / str(version) for name, version in models.items()]
    present = {
        str(path.relative_to(REPOSITORY.path)) for folder in versions for path in folder.rglob("*") if path.is_file()
    }
    assert present - {f"{ensemble.name}/{manifest.release}/{MANIFEST_NAME}"} == set(manifest.files)
