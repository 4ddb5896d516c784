"""Evaluation, comparison and quantization of the shipped release, from the command line, on real faces."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from mien import EmotionClient
from training import cli, quantize
from training.classifier import open_onnx
from training.dataset import load
from training.evaluation_commands import NOT_OFFERED
from training.export.golden import synthetic_faces
from training.export.manifest import sha256
from training.onnx_inference import OnnxModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import MakeServer
    from training.dataset import Dataset

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "model_repository/emotion_classifier/1/model.onnx"
WEIGHTS = ROOT / "training/weights/vgg_half.weights.h5"

pytestmark = [pytest.mark.data, pytest.mark.timeout(600)]


def part_of_fer(source: Path, target: Path, train: int, validation: int | None) -> Path:
    """Some faces of each class of FER-2013, as files of another zip; all of PublicTest where `validation` is None."""
    chosen: dict[PurePosixPath, list[str]] = defaultdict(list)
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as part:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        random.Random(0).shuffle(names)
        for name in names:
            chosen[PurePosixPath(name).parent].append(name)
        for folder, members in chosen.items():
            for name in members[: train if "train" in folder.parts else validation]:
                part.writestr(name, archive.read(name))
    return target


@pytest.fixture(scope="module")
def public_test(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of PublicTest, and a few training faces."""
    return part_of_fer(test_data / "data/fer2013.zip", tmp_path_factory.mktemp("fer") / "fer.zip", 80, None)


@pytest.fixture(scope="module")
def few_faces(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty faces of each class and split."""
    return part_of_fer(test_data / "data/fer2013.zip", tmp_path_factory.mktemp("few") / "few.zip", 20, 20)


def run(arguments: Sequence[object]) -> int:
    """Exit code of ``python -m training`` with `arguments`."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_one_command_gives_the_figure_of_the_model_card(
    public_test: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["evaluate", public_test, "--release", 1, "--out", tmp_path, "--no-robustness"])

    assert code == 0
    assert f"Report: {tmp_path / 'report.html'}" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["report"]["examples"] == 3_589
    assert metrics["report"]["accuracy"] == pytest.approx(0.7108, abs=0.001)
    assert metrics["report"]["macro_f1"] == pytest.approx(0.688, abs=0.003)
    # Every training face was used for this release: a temperature fitted on some of them must not be believed.
    assert metrics["temperature"]["verdict"].startswith("Do not use")


def test_keras_weights_and_their_onnx_file_are_measured_alike(few_faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("keras")
    common = ["evaluate", few_faces, "--no-robustness", "--held-out", 0]
    assert run([*common, "--weights", WEIGHTS, "--network", "vgg_half", "--out", tmp_path / "keras"]) == 0
    assert run([*common, "--onnx", RELEASE, "--out", tmp_path / "onnx"]) == 0

    keras, exported = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("keras", "onnx"))

    assert keras["report"]["confusion"] == exported["report"]["confusion"]
    assert keras["report"]["nll"] == pytest.approx(exported["report"]["nll"], abs=1e-5)
    assert keras["footprint"] is None


def test_robustness_and_the_worst_mistakes_are_in_the_report(few_faces: Path, tmp_path: Path) -> None:
    assert run(["evaluate", few_faces, "--out", tmp_path]) == 0

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["robustness"]) == 16
    assert 0 < len(metrics["mistakes"]) <= 24
    assert all(mistake["label"] != mistake["predicted"] for mistake in metrics["mistakes"])
    assert (tmp_path / "report.html").read_text().count("<img") == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["evaluate", "{data}", "--split", "test"], 6, "has no split 'test'. It has: train, validation"),
        (["evaluate", "{data}", "--release", 7], 6, "There is no release 7"),
        (["evaluate", "{data}", "--onnx", "none.onnx"], 6, "There is no ONNX file none.onnx"),
        (["evaluate", "{data}", "--weights", "x.h5"], 6, "Name it with --network"),
        (["evaluate", "{data}", "--release", 1, "--onnx", "x"], 2, "Give one of"),
        (["evaluate", "nowhere.zip"], 6, "There is no dataset at nowhere.zip"),
        (["compare", 1, "none.onnx", "{data}"], 6, "There is no ONNX file none.onnx"),
        (["quantize", "none.onnx", "{data}"], 6, "There is no ONNX file none.onnx"),
    ],
)
def test_a_mistaken_command_ends_in_a_sentence(
    few_faces: Path, capsys: pytest.CaptureFixture[str], arguments: list[object], code: int, message: str
) -> None:
    assert run([few_faces if argument == "{data}" else argument for argument in arguments]) == code

    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_test_split_comes_with_a_warning(few_faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["evaluate", few_faces, "--split", "test"])

    assert "The test split is used once" in capsys.readouterr().err


@pytest.fixture(scope="module")
def faces(few_faces: Path) -> Dataset:
    return load(few_faces)


def test_int8_keeps_the_contract_and_says_what_it_lost(
    few_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "int8.onnx"

    code = run(["quantize", RELEASE, few_faces, "--out", target])

    # So few faces may put the loss on either side of the limit; what is said and what is written must agree.
    said = capsys.readouterr().out
    assert code in (0, NOT_OFFERED)
    assert target.exists() == (code == 0)
    assert ("No int8 model is offered" in said) == (code == NOT_OFFERED)
    assert list(tmp_path.iterdir()) == ([target] if target.exists() else [])


def test_an_int8_model_is_small_and_answers_as_the_original(
    faces: Dataset, few_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantize, "LARGEST_LOSS", 1.0)
    target = tmp_path / "int8.onnx"

    made = quantize.quantize(RELEASE, faces, target)

    assert made.path == target
    assert made.bytes_after < 0.3 * made.bytes_before
    images = faces.validation.examples
    agree = open_onnx(target).predict(images).argmax(axis=1) == open_onnx(RELEASE).predict(images).argmax(axis=1)
    assert agree.mean() > 0.9
    assert {opset.domain for opset in onnx.load(target).opset_import} == {""}
    assert run(["compare", RELEASE, target, few_faces, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"].startswith("No difference is shown")
    assert run(["quantize", target, few_faces]) == 6
    assert "is quantized already" in capsys.readouterr().err


@pytest.mark.integration
def test_triton_serves_the_int8_model_with_the_same_config(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_server: MakeServer
) -> None:
    monkeypatch.setattr(quantize, "LARGEST_LOSS", 1.0)
    repository = tmp_path / "shipped"
    shutil.copytree(ROOT / "model_repository", repository)
    target, manifest = (
        repository / "emotion_classifier/1/model.onnx",
        repository / "emotion/1/manifest.json",
    )
    quantize.quantize(RELEASE, faces, target)
    digests = json.loads(manifest.read_text())
    digests["files"]["emotion_classifier/1/model.onnx"] = sha256(target)
    manifest.write_text(json.dumps(digests))
    crops = synthetic_faces(5)

    with (
        make_server(tmp_path / "state", shipped_repository=repository) as server,
        EmotionClient(server.endpoint) as client,
    ):
        served = client.classify(crops)

    pixels = OnnxModel(repository / "emotion_preprocess/1/model.onnx").predict(crops)
    np.testing.assert_allclose(served.probabilities, OnnxModel(target).predict(pixels), atol=1e-5)


def test_an_int8_model_that_loses_too_much_is_not_written(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "LARGEST_LOSS", -1.0)

    made = quantize.quantize(RELEASE, faces, tmp_path / "int8.onnx")

    assert made.path is None
    assert made.verdict.startswith("No int8 model is offered: it loses")
    assert not list(tmp_path.iterdir())
