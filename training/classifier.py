"""A trained classifier, whatever file it lies in: what evaluation, comparison and quantization ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from scipy.special import softmax

from mien.contract import EMOTION, VARIANTS
from training import inputs
from training.errors import TrainingError
from training.export.manifest import sha256
from training.onnx_inference import BATCH_SIZE, OnnxModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec, ModelSpec
    from training.inputs import Prepare

    Track = Callable[[Sequence[int], str], Iterable[int]]


# ONNX Runtime's errors have no root of their own.
_UNUSABLE = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NotImplemented,
)


def untracked(steps: Sequence[int], task: str) -> Iterable[int]:
    """Show no progress."""
    del task
    return steps


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        name: what reports call it.
        path: the file it was read from.
        kind: ``ONNX`` or ``Keras weights``.
        parameters: how many numbers it has learnt.
        ensemble: what it is the last member of.
        run: gives one batch of what that member takes, float32, its (N, K) probabilities.
        prepare: makes such a batch from a dataset's examples.
        track: wraps the steps of a long task and shows them, given a description, as `rich.progress.track` does.
    """

    name: str
    path: Path
    kind: str
    parameters: int
    ensemble: EnsembleSpec
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    prepare: Prepare
    track: Track = untracked

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of what `run` takes, without the batch."""
        return self.ensemble.members[-1].input.shape

    def predict(self, examples: NDArray[Any], task: str = "Classifying") -> NDArray[np.float32]:
        """Classify any number of examples.

        Args:
            examples: a split's: (N, 48, 48, 1) uint8 grey levels, enlarged for a network that takes more, or (N, 48000)
                float32 samples of speech.
            task: what the progress bar says.

        Returns:
            (N, K) probabilities.
        """
        starts = range(0, len(examples), BATCH_SIZE)
        return np.concatenate([self.run(self.prepare(examples[i : i + BATCH_SIZE])) for i in self.track(starts, task)])


def open_onnx(path: Path, name: str | None = None, track: Track = untracked) -> Classifier:
    """A classifier from an exported ONNX file.

    Raises:
        TrainingError: there is no such file, or it is no classifier of the contract.
    """
    graph, ensemble = read_classifier(path)
    try:
        model = OnnxModel(path)
    except _UNUSABLE as error:
        message = f"ONNX Runtime cannot run {path}: {str(error).splitlines()[0]}"
        raise TrainingError(message) from error
    prepare = inputs.preparing(ensemble, path)
    return Classifier(name or path.stem, path, "ONNX", stored_numbers(graph), ensemble, model, prepare, track)


def open_weights(path: Path, network: str, track: Track = untracked) -> Classifier:
    """A classifier from a Keras weights file, run by Keras under whichever backend is set.

    Raises:
        TrainingError: there is no such network or file, or the weights are not that network's.
    """
    from training import networks  # imports Keras, which ONNX files can do without

    model = networks.build(network)
    networks.load_weights(model, path)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(softmax(model.predict_on_batch(batch), axis=1), np.float32)

    ensemble = networks.find(network).ensemble
    name, prepare = f"{network} ({path.name})", inputs.preparing(ensemble)
    return Classifier(name, path, "Keras weights", model.count_params(), ensemble, run, prepare, track)


def open_release(
    repository: Path, release: int, track: Track = untracked, ensemble: EnsembleSpec = EMOTION
) -> Classifier:
    """The classifier of a release of `ensemble` in a model repository.

    Raises:
        TrainingError: the repository has no such release, or its file is no classifier of the contract.
    """
    variants = [variant for variant in VARIANTS if variant.name == ensemble.name]
    paths = [repository / variant.members[-1].name / str(release) / "model.onnx" for variant in variants]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        there = sorted(int(folder.name) for folder in (repository / ensemble.name).glob("[0-9]*"))
        listed = f"It has {', '.join(map(str, there))}." if there else "It has none."
        message = f"There is no release {release} in {repository}. {listed}"
        raise TrainingError(message)
    return replace(open_onnx(path, track=track), name=f"release {release}")


def read_classifier(path: Path) -> tuple[onnx.GraphProto, EnsembleSpec]:
    """The graph of an ONNX file and which of the contract's ensembles it can be the classifier of, by its tensors.

    Raises:
        TrainingError: there is no such file, it is no ONNX file, or its tensors are no classifier's.
    """
    if not path.is_file():
        message = f"There is no ONNX file {path}."
        raise TrainingError(message)
    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        message = f"{path} is no ONNX file, or a damaged one."
        raise TrainingError(message) from error
    weights = {constant.name for constant in graph.initializer}
    found = [_describe(value) for value in (*graph.input, *graph.output) if value.name not in weights]
    known = [_tensors(variant.members[-1]) for variant in VARIANTS]
    if found in known:
        return graph, VARIANTS[known.index(found)]
    listed = " or ".join(map(str, known))
    message = f"{path} is no classifier: its tensors must be {listed}, without the batch; they are {found}."
    raise TrainingError(message)


def stored_numbers(graph: onnx.GraphProto) -> int:
    """How many numbers the weights of a graph are: its tensors of two and more dimensions, and its biases."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.INT32}
    return sum(int(np.prod(one.dims)) for one in graph.initializer if one.data_type in kinds and one.dims)


def _tensors(spec: ModelSpec) -> list[tuple[str, tuple[Any, ...]]]:
    return [(tensor.name, tensor.shape) for tensor in (spec.input, spec.output)]


def _describe(value: onnx.ValueInfoProto) -> tuple[str, tuple[Any, ...]]:
    return value.name, tuple(dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim[1:])
