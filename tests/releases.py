"""Releases that differ from the shipped one, made without training: for tests of publishing and promoting."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from mien.contract import EMOTION
from serving.manifest import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from serving import ServingSettings


def export_variant(
    settings: ServingSettings,
    folder: Path,
    *,
    favour: int,
    strength: float = 2.0,
    ensemble: EnsembleSpec = EMOTION,
) -> Path:
    """Write an export of release 1 whose classifier favours one label.

    Args:
        settings: name the shipped repository.
        folder: to write; an export as publishing takes it.
        favour: column whose logit is raised.
        strength: by how much.
        ensemble: whose release.

    Returns:
        `folder`.
    """
    shutil.copytree(settings.shipped_repository, folder)
    path = folder / ensemble.members[-1].name / "1/model.onnx"
    model = onnx.load(path)
    raised = np.zeros(ensemble.output.shape, np.float32)
    raised[favour] = strength
    _raise_logits(model.graph, raised)
    onnx.save(model, path)
    golden = folder / ensemble.name / "1/golden.npz"
    key = ensemble.input.name.lower()
    with np.load(golden) as content:
        inputs, tolerance = content[key], content["tolerance"]
    np.savez_compressed(
        golden, **{key: inputs, "probabilities": answers(folder, inputs, ensemble=ensemble), "tolerance": tolerance}
    )
    seal(folder, ensemble)
    return folder


def _raise_logits(graph: onnx.GraphProto, raised: NDArray[np.float32]) -> None:
    """Add to what the last softmax takes."""
    graph.initializer.append(numpy_helper.from_array(raised, "raised"))
    (index,) = [number for number, node in enumerate(graph.node) if graph.output[0].name in node.output]
    softmax = graph.node[index]
    assert softmax.op_type == "Softmax", softmax.op_type
    logits = softmax.input[0]
    softmax.input[0] = "raised_logits"
    graph.node.insert(index, helper.make_node("Add", [logits, "raised"], ["raised_logits"]))


def seal(folder: Path, ensemble: EnsembleSpec = EMOTION) -> None:
    """Make the manifest of an export's release 1 agree with its files, whatever they hold."""
    path = folder / ensemble.name / "1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: file_sha256(folder / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def answers(
    folder: Path, inputs: NDArray[np.generic], version: int = 1, ensemble: EnsembleSpec = EMOTION
) -> NDArray[np.float32]:
    """What the members in `folder` answer, run in this process: (N, 7) probabilities for (N, *input's shape)."""
    values = inputs
    for model in ensemble.members:
        session = onnxruntime.InferenceSession(folder / model.name / str(version) / "model.onnx")
        (values,) = session.run([model.output.name], {model.input.name: values})
    return np.asarray(values, np.float32)
