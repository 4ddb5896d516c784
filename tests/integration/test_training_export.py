"""A release from weights to files, with real TensorFlow, ONNX and ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from mien import contract
from training import networks
from training.cli import app
from training.errors import ExportError, TrainingError
from training.export import release as release_module
from training.export.manifest import DatasetReference
from training.export.release import Candidate, export_release
from training.onnx_inference import OnnxModel

ROOT = Path(__file__).parents[2]
CANDIDATE = Candidate(
    "vgg_half",
    ROOT / "training" / "weights" / "vgg_half.weights.h5",
    DatasetReference("a test", "0" * 64),
    created_by="test",
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "repository"
    export_release(CANDIDATE, path, 1, measure=lambda onnx_file: {"size": onnx_file.stat().st_size})
    return path


@pytest.fixture
def manifest(repository: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((repository / "emotion/1/manifest.json").read_text())
    return loaded


@pytest.mark.parametrize("spec", contract.EMOTION.members, ids=lambda spec: spec.name)
def test_onnx_files_have_the_tensors_of_the_contract(repository: Path, spec: contract.ModelSpec) -> None:
    graph = onnx.load(repository / spec.name / "1" / "model.onnx").graph

    for value, tensor in ((graph.input[0], spec.input), (graph.output[0], spec.output)):
        dims = value.type.tensor_type.shape.dim
        assert value.name == tensor.name
        assert dims[0].dim_param == "batch"
        assert tuple(dim.dim_value for dim in dims[1:]) == tensor.shape
    assert not [node for node in graph.node if node.op_type == "Transpose"]


def test_golden_outputs_are_what_the_two_files_answer(repository: Path) -> None:
    golden = np.load(repository / "emotion/1/golden.npz")
    pixels = OnnxModel(repository / "emotion_preprocess/1/model.onnx").predict(golden["faces"])
    probabilities = OnnxModel(repository / "emotion_classifier/1/model.onnx").predict(pixels)

    assert golden["faces"].shape == (8, 96, 96, 3)
    np.testing.assert_allclose(probabilities, golden["probabilities"], atol=float(golden["tolerance"]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_manifest_names_every_file_with_its_digest(repository: Path, manifest: dict[str, object]) -> None:
    files = {
        path.relative_to(repository).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in repository.glob("*/1/**/*")
        if path.is_file() and path.name != "manifest.json"
    }

    assert manifest["files"] == files
    assert manifest["members"] == {"emotion_preprocess": 1, "emotion_classifier": 1}
    assert manifest["twins"] == {"emotion_classifier_savedmodel": 1}
    assert manifest["labels"] == list(contract.EMOTION_LABELS)
    assert manifest["dataset"] == {"name": "a test", "digest": "0" * 64}
    assert manifest["metrics"] == {"size": (repository / "emotion_classifier/1/model.onnx").stat().st_size}


def test_nothing_is_left_beside_the_repository(repository: Path) -> None:
    assert list(repository.parent.iterdir()) == [repository]


def test_a_release_is_not_written_over_unless_asked(repository: Path) -> None:
    with pytest.raises(ExportError, match=r"has emotion_preprocess/1 already.*--replace"):
        export_release(CANDIDATE, repository, 1)


def test_a_second_export_gives_the_same_onnx_bytes(
    repository: Path, manifest: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy)

    again = json.loads(export_release(CANDIDATE, copy, 1, replace=True).read_text())

    reproducible = [name for name in again["files"] if name.endswith((".onnx", ".npz"))]
    assert len(reproducible) == 3
    assert {n: again["files"][n] for n in reproducible} == {n: manifest["files"][n] for n in reproducible}


def test_an_export_that_differs_from_keras_fails_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_module, "PROBABILITIES_TOLERANCE", 1e-12)

    with pytest.raises(ExportError, match=r"model\.onnx of emotion_classifier differs from Keras by .*; 1e-12"):
        export_release(CANDIDATE, tmp_path / "repository", 1)

    assert not list((tmp_path / "repository").iterdir())


def test_temperature_softens_what_is_served_and_keeps_the_winner() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (16, 48, 48, 1)).astype(np.float32)
    network = networks.build("vgg_half")
    networks.load_weights(network, CANDIDATE.weights)
    logits = network.predict(pixels, verbose=0) / 2
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    softened = Candidate(CANDIDATE.network, CANDIDATE.weights, CANDIDATE.dataset, temperature=2.0)

    probabilities = release_module.probabilities_model(softened).predict(pixels, verbose=0)

    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_weights_in_a_run_bring_network_dataset_and_configuration(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(CANDIDATE.weights, run / "network.weights.h5")
    record = {"network": "vgg_half", "config": {"epochs": 3}, "dataset": {"name": "faces", "digest": "1" * 64}}
    (run / "result.json").write_text(json.dumps(record))
    target = tmp_path / "repository"

    result = CliRunner().invoke(
        app, ["export", "--weights", str(run / "network.weights.h5"), "--repository", str(target), "--release", "4"]
    )

    assert result.exit_code == 0, result.output
    written = json.loads((target / "emotion/4/manifest.json").read_text())
    assert written["dataset"] == record["dataset"]
    assert written["provenance"]["config"] == record["config"]
    assert written["members"] == {"emotion_preprocess": 4, "emotion_classifier": 4}


def test_weights_of_an_unnamed_network_are_refused(tmp_path: Path) -> None:
    weights = shutil.copy(CANDIDATE.weights, tmp_path / "some.weights.h5")

    result = CliRunner().invoke(
        app, ["export", "--weights", str(weights), "--repository", str(tmp_path / "repository")]
    )

    assert isinstance(result.exception, TrainingError)
    assert "does not say which network its weights belong to" in str(result.exception)
