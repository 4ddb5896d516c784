"""ResNet50V2 from weights to answers: exported with its own members, then served by a real Triton behind `emotion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from mien import ClientSettings, EmotionClient, contract
from serving.repository import ModelRepository
from training import networks
from training.classifier import open_release, open_weights
from training.cli import app
from training.export import release as release_module
from training.export.golden import synthetic_faces
from training.export.manifest import DatasetReference
from training.export.release import Candidate, probabilities_model

if TYPE_CHECKING:
    from tests.conftest import MakeServer

pytestmark = [
    pytest.mark.integration,
    # What TensorFlow's variables do to NumPy 2 when Keras saves them; nothing of ours can change it.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
]

RELEASE = 2
MEMBERS = {"emotion_preprocess_rgb96": RELEASE, "emotion_classifier_rgb96": RELEASE}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones; the head's are enlarged, for a new network finds every emotion alike."""
    network = networks.build("resnet50v2")
    kernel, _ = (head := network.get_layer("head_logits")).get_weights()
    head.set_weights([30 * kernel, np.zeros(7, np.float32)])
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def repository(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new repository with this release alone."""
    path = tmp_path_factory.mktemp("export") / "repository"
    arguments = ["--network", "resnet50v2", "--weights", weights, "--repository", path, "--release", RELEASE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(release_module.PARITY_EXAMPLES, contract.FACES, 16)  # a thousand take minutes
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return path


def test_the_release_names_the_colour_members_and_its_files_match(repository: Path) -> None:
    models = ModelRepository(repository)
    manifest = models.verify(contract.EMOTION)

    assert manifest.members == models.pointer(contract.EMOTION).members == MEMBERS
    assert manifest.twins == {"emotion_classifier_rgb96_savedmodel": RELEASE}
    assert manifest.provenance["network"] == "resnet50v2"
    assert set(manifest.provenance["parity"]["largest_difference"]) == {*MEMBERS, *manifest.twins}


def test_its_configurations_are_those_that_ship_but_for_the_version(repository: Path) -> None:
    shipped = ModelRepository(Path(__file__).parents[2] / "model_repository")

    for model in MEMBERS:
        expected = shipped.config(model)
        expected.version_policy.specific.versions[:] = [RELEASE]
        assert ModelRepository(repository).config(model) == expected


def test_the_exported_classifier_is_evaluated_on_grey_faces_as_keras_is(repository: Path, weights: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)

    exported = open_release(repository, RELEASE).predict(faces)

    np.testing.assert_allclose(exported, open_weights(weights, "resnet50v2").predict(faces), atol=1e-5)


def test_triton_answers_as_keras_does(repository: Path, weights: Path, make_server: MakeServer, tmp_path: Path) -> None:
    faces = synthetic_faces(8, seed=5)
    candidate = Candidate("resnet50v2", weights, DatasetReference("none"))
    expected = probabilities_model(candidate).predict(faces.astype(np.float32), verbose=0)
    golden = np.load(repository / "emotion" / str(RELEASE) / "golden.npz")

    with (
        make_server(tmp_path / "state", shipped_repository=repository, ensembles="emotion") as server,
        EmotionClient(ClientSettings(endpoints=server.endpoint, deadline_s=60)) as client,
    ):
        answer = client.classify(faces)
        again = client.classify(golden["faces"])
        served = {model.name: model for model in client.models()}["emotion"]

    assert set(answer.model_versions) == {str(RELEASE)}
    assert served.members == tuple((name, str(version)) for name, version in MEMBERS.items())
    assert np.ptp(expected, axis=1).min() > 0.1
    np.testing.assert_allclose(answer.probabilities, expected, atol=release_module.PROBABILITIES_TOLERANCE)
    np.testing.assert_allclose(again.probabilities, golden["probabilities"], atol=float(golden["tolerance"]))
