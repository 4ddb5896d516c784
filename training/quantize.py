"""A classifier in 8-bit integers, for CPUs; offered only if it is as good.

Static quantization by ONNX Runtime in its QDQ form, which every execution provider reads: unsigned 8-bit activations
with ranges seen on training faces, signed 8-bit weights with a scale for each output channel. The rescaling of the
input and the softmax stay in float32: the one would cost grey levels, the other would leave probabilities in steps of
1/256.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from training import inputs
from training.classifier import open_onnx, read_classifier, untracked
from training.errors import TrainingError
from training.evaluate import take_split
from training.metrics import classification_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mien.contract import TensorSpec
    from training.classifier import Track
    from training.dataset import Dataset, Split
    from training.inputs import Prepare
    from training.metrics import ClassificationReport

CALIBRATION_FACES = 512
LARGEST_LOSS = 0.005
"""Accuracy that may be lost: half a point."""

_BATCH = 32
_QUANTIZED = ["Conv", "Relu", "MaxPool", "GlobalAveragePool", "Squeeze", "MatMul", "Gemm", "Add"]


@dataclass(frozen=True)
class Quantization:
    """What became of it.

    Attributes:
        before, after: metrics on the validation split.
        bytes_before, bytes_after: sizes of the files.
        path: the quantized file; None if it loses too much.
    """

    before: ClassificationReport
    after: ClassificationReport
    bytes_before: int
    bytes_after: int
    path: Path | None

    @property
    def loss(self) -> float:
        """Accuracy lost; negative if some was gained."""
        return self.before.accuracy - self.after.accuracy

    @property
    def verdict(self) -> str:
        """One sentence: where the file is, or why there is none."""
        figures = (
            f"accuracy {self.before.accuracy:.4f} to {self.after.accuracy:.4f} on {self.before.examples:,} faces, "
            f"{self.bytes_before / 1e6:.2f} to {self.bytes_after / 1e6:.2f} MB"
        )
        if self.path is None:
            lost = f"{self.loss * 100:.2f} points; {LARGEST_LOSS * 100:.1f} and more is too much"
            return f"No int8 model is offered: it loses {lost} ({figures})."
        return f"The int8 model is {self.path}: {figures}."


def quantize(
    source: Path,
    dataset: Dataset,
    target: Path,
    *,
    faces: int = CALIBRATION_FACES,
    seed: int = 0,
    track: Track = untracked,
) -> Quantization:
    """Quantize a classifier, and keep it if it loses less than half a point on the validation split.

    Args:
        source: the float32 ONNX file.
        dataset: `train` gives the ranges, `validation` decides.
        target: where the int8 file goes; the same config.pbtxt serves it.
        faces: training faces, drawn by `seed`, that the ranges of the activations are taken from.
        seed: of the draw.
        track: shows progress.

    Raises:
        TrainingError: `source` is no classifier of the contract, is quantized already, or `target` is `source`.
    """
    graph, ensemble = read_classifier(source)
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        message = f"{source} is quantized already. Give the float32 file it was made from."
        raise TrainingError(message)
    if target.exists() and target.samefile(source):
        message = f"{target} is the float32 file itself. Choose another name with --out."
        raise TrainingError(message)
    validation = take_split(dataset, "validation")
    calibration = _draw(take_split(dataset, "train"), faces, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as staging:
        candidate = Path(staging, "int8.onnx")
        prepare = inputs.preparing(ensemble, source)
        _quantize(source, _Examples(calibration, ensemble.members[-1].input, prepare), candidate)
        before = _report(source, "float32", dataset, validation, track)
        after = _report(candidate, "int8", dataset, validation, track)
        sizes = source.stat().st_size, candidate.stat().st_size
        offered = before.accuracy - after.accuracy < LARGEST_LOSS
        if offered:
            candidate.replace(target)
    return Quantization(before, after, *sizes, target if offered else None)


class _Examples(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime carries no types
    def __init__(self, examples: NDArray[Any], tensor: TensorSpec, prepare: Prepare) -> None:
        self._batches: Iterator[dict[str, Any]] = (
            {tensor.name: prepare(examples[i : i + _BATCH])} for i in range(0, len(examples), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _draw(train: Split, faces: int, seed: int) -> NDArray[Any]:
    rows = np.random.default_rng(seed).permutation(len(train))[:faces]
    return train.examples[rows]


def _quantize(source: Path, calibration: CalibrationDataReader, target: Path) -> None:
    prepared = target.with_name("prepared.onnx")
    # Symbolic shapes need SymPy and change nothing in a graph whose only free dimension is the batch.
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    first = next((place for place, node in enumerate(graph.node) if node.op_type == "Conv"), 0)
    kept = [node.name for place, node in enumerate(graph.node) if place < first or node.op_type == "Softmax"]
    quantize_static(
        prepared,
        target,
        calibration,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_QUANTIZED,
        per_channel=True,
        # Without VNNI a processor adds two 8-bit products in 16 bits, which overflow: that took 3.8 points of accuracy.
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
        calibrate_method=CalibrationMethod.MinMax,
    )
    _drop_unused_domains(target)


def _drop_unused_domains(path: Path) -> None:
    """Take back the operator sets that the pre-processing declares in passing: other readers may not know them."""
    proto = onnx.load(path)
    used = {node.domain for node in proto.graph.node}
    declared = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(declared)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def _report(path: Path, name: str, dataset: Dataset, split: Split, track: Track) -> ClassificationReport:
    probabilities = open_onnx(path, name, track).predict(split.examples, f"Classifying, {name}")
    return classification_report(probabilities, split.labels, dataset.labels)
