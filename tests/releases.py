"""Releases that differ from the shipped one, made without training: for tests of publishing and promoting."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from mien.contract import EMOTION, EMOTION_CLASSIFIER, EMOTION_PREPROCESS
from serving.manifest import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from serving import ServingSettings


def export_variant(settings: ServingSettings, folder: Path, *, favour: int, strength: float = 2.0) -> Path:
    """Write an export of release 1 whose classifier favours one label.

    Args:
        settings: name the shipped repository.
        folder: to write; an export as publishing takes it.
        favour: column whose logit is raised.
        strength: by how much.

    Returns:
        `folder`.
    """
    shutil.copytree(settings.shipped_repository, folder)
    path = folder / EMOTION_CLASSIFIER.name / "1/model.onnx"
    graph = onnx.load(path)
    (bias,) = [tensor for tensor in graph.graph.initializer if list(tensor.dims) == list(EMOTION.output.shape)]
    values = numpy_helper.to_array(bias).copy()
    values[favour] += strength
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(graph, path)
    golden = folder / EMOTION.name / "1/golden.npz"
    with np.load(golden) as content:
        faces, tolerance = content["faces"], content["tolerance"]
    np.savez_compressed(golden, faces=faces, probabilities=answers(folder, faces), tolerance=tolerance)
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Make the manifest of an export's release 1 agree with its files, whatever they hold."""
    path = folder / EMOTION.name / "1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: file_sha256(folder / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def answers(folder: Path, faces: NDArray[np.uint8], version: int = 1) -> NDArray[np.float32]:
    """What the members in `folder` answer, run in this process: (N, 7) probabilities for (N, 96, 96, 3) RGB faces."""
    values: NDArray[np.generic] = faces
    for model in (EMOTION_PREPROCESS, EMOTION_CLASSIFIER):
        session = onnxruntime.InferenceSession(folder / model.name / str(version) / "model.onnx")
        (values,) = session.run([model.output.name], {model.input.name: values})
    return np.asarray(values, np.float32)
