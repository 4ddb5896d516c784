"""A trained network becomes a release: ONNX and SavedModel members, golden outputs and a manifest.

Weights trained under any Keras backend are loaded under TensorFlow and written from there.

Parity. ONNX Runtime, TensorFlow and Keras sum the same float32 products in different orders. Grey levels are sums of
twelve products of at most 255, so rounding stays near 1e-5 of them; through the network the probabilities of 1,000
synthetic faces were seen to differ by at most 6e-7. The tolerances leave a factor of ten and more for other machines
and stay far below anything that a caller can see; an export that exceeds them fails.
"""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mien.contract import AUDIO, FACES, FUNCTIONALS, PIXELS, PIXELS_RGB
from training import networks, preprocessing
from training.errors import ExportError, TrainingError
from training.export import configs, golden
from training.export.manifest import DatasetReference, build_manifest, digest_files, environment, save_manifest, sha256
from training.export.onnx_format import OPSET, save_onnx
from training.export.saved_model import SIGNATURE, save_saved_model
from training.onnx_inference import OnnxModel
from training.run_record import read_measured, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec, ModelSpec

FEATURES_TOLERANCE = {PIXELS: 1e-3, PIXELS_RGB: 1e-3, FUNCTIONALS: 1e-2}
"""Largest difference between formats of what a network takes: of a level (0..255), of a functional, most in dB."""

PROBABILITIES_TOLERANCE = 1e-5
"""Largest difference of a probability between formats."""

GOLDEN_TOLERANCE = {FACES: PROBABILITIES_TOLERANCE, AUDIO: 1e-4}
"""Largest difference of a probability that a server may show for a golden example, through both members: a quiet band's
energy in dB differs more between two ways of summing than a grey level does."""

PARITY_EXAMPLES = {FACES: 1_000, AUDIO: 100}
"""How many examples of an input formats are compared on."""

ONNX_FILE = "model.onnx"
SAVED_MODEL_DIRECTORY = "model.savedmodel"
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.npz"


@dataclass(frozen=True)
class Candidate:
    """A trained network, and what its manifest says about it.

    Attributes:
        network: name in `training.networks`.
        weights: Keras weights file of that network.
        dataset: what it was trained on.
        temperature: logits are divided by it before the softmax; 1 changes nothing.
        created_by: who or what made it.
        provenance: further facts for the manifest, such as the run's configuration.
        metrics: figures for the manifest that are known before.
    """

    network: str
    weights: Path
    dataset: DatasetReference
    temperature: float = 1.0
    created_by: str = field(default_factory=getpass.getuser)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


def candidate_of_run(run: Path) -> Candidate:
    """The candidate that a finished run made.

    Args:
        run: the run's folder.

    Raises:
        TrainingError: the folder does not say which network its weights belong to, or its record is damaged.
    """
    record = read_run(run)
    if record.network is None:
        message = f"{run} does not say which network its weights belong to: it holds no finished run. Name --network."
        raise TrainingError(message)
    measured = read_measured(run)
    by = {"measured_by": measured["by"]} if measured else {}
    return Candidate(
        network=record.network,
        weights=run / str(record.facts.get("weights", "network.weights.h5")),
        dataset=DatasetReference(str(record.dataset.get("name", "unknown")), record.dataset.get("digest")),
        temperature=float(record.facts.get("temperature", 1.0)),
        provenance={"config": dict(record.config), **by},
        metrics=measured.get("metrics", {}),
    )


def export_release(
    candidate: Candidate,
    repository: Path,
    release: int,
    *,
    replace: bool = False,
    measure: Callable[[Path], Mapping[str, Any]] | None = None,
) -> Path:
    """Write `candidate` as version `release` of every model of its ensemble: of the members that its network needs.

    Everything is written and checked beside the repository, then renamed into it, the manifest's directory last: a
    failed export changes nothing. Where the repository has no config.pbtxt for a model yet, it gets one that pins this
    release, so a new repository can be served as it is; the others stay, and so does what is served.

    Args:
        candidate: what to export.
        repository: root of a model repository; made if it is not there.
        release: version number of all its models.
        replace: write over a release of that number; otherwise that is an error.
        measure: called with the classifier's ONNX file; what it returns goes into the manifest as ``metrics``, in place
            of what the candidate knows.

    Returns:
        The manifest's path.

    Raises:
        ExportError: the release exists, or the exported models differ from Keras.
        TrainingError: unknown network, or the weights are not its weights.
    """
    ensemble = networks.find(candidate.network).ensemble
    targets = [Path(model, str(release)) for model in _models(ensemble)]
    taken = [target for target in targets if (repository / target).exists()]
    if taken and not replace:
        message = f"{repository} has {taken[0]} already. Choose another number with --release, or add --replace."
        raise ExportError(message)
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=f".{repository.name}-") as staging:
        stage = Path(staging)
        _write(candidate, ensemble, stage, release, measure)
        for target in targets:
            _move(stage / target, repository / target, Path(staging, "replaced", target))
    configs.add_missing(repository, ensemble, release)
    return repository / ensemble.name / str(release) / MANIFEST_FILE


def probabilities_model(candidate: Candidate) -> keras.Model:
    """The classifier as it is served: network, temperature, softmax; the network's input to (N, 7) float32."""
    network = networks.build(candidate.network)
    networks.load_weights(network, candidate.weights)
    logits = network.output
    if candidate.temperature != 1.0:
        logits = layers.Rescaling(1 / candidate.temperature)(logits)
    return keras.Model(network.input, layers.Softmax()(logits), name="classifier")


def _models(ensemble: EnsembleSpec) -> tuple[str, ...]:
    return (*(m.name for m in ensemble.members), *(t.name for t in ensemble.twins), ensemble.name)


def _write(
    candidate: Candidate,
    ensemble: EnsembleSpec,
    stage: Path,
    release: int,
    measure: Callable[[Path], Mapping[str, Any]] | None,
) -> None:
    _require_tensorflow()
    directories = {model: stage / model / str(release) for model in _models(ensemble)}
    for directory in directories.values():
        directory.mkdir(parents=True)
    preprocess_spec, classifier_spec = ensemble.members
    preprocess = preprocessing.PREPROCESSING[classifier_spec.input]()
    classifier = probabilities_model(candidate)
    preprocess_onnx = directories[preprocess_spec.name] / ONNX_FILE
    classifier_onnx = directories[classifier_spec.name] / ONNX_FILE
    save_onnx(preprocess, preprocess_spec, preprocess_onnx)
    save_onnx(classifier, classifier_spec, classifier_onnx)

    compared = PARITY_EXAMPLES[ensemble.input]
    examples = golden.SYNTHETIC[ensemble.input](compared)
    features = preprocess.predict(examples, verbose=0)
    probabilities = classifier.predict(features, verbose=0)
    parity = {
        preprocess_spec.name: _parity(
            preprocess_onnx,
            features,
            OnnxModel(preprocess_onnx).predict(examples),
            FEATURES_TOLERANCE[classifier_spec.input],
        ),
        classifier_spec.name: _parity(
            classifier_onnx, probabilities, OnnxModel(classifier_onnx).predict(features), PROBABILITIES_TOLERANCE
        ),
    }
    for twin in ensemble.twins:
        path = directories[twin.name] / SAVED_MODEL_DIRECTORY
        save_saved_model(classifier, twin, path)
        answered = _run_saved_model(path, twin, features)
        parity[twin.name] = _parity(path, probabilities, answered, PROBABILITIES_TOLERANCE)
    count = golden.GOLDEN_EXAMPLES
    golden_file = directories[ensemble.name] / GOLDEN_FILE
    golden.save_golden(
        golden_file, ensemble.input, examples[:count], probabilities[:count], GOLDEN_TOLERANCE[ensemble.input]
    )

    provenance = {
        **environment(),
        "network": candidate.network,
        "weights_sha256": sha256(candidate.weights),
        "temperature": candidate.temperature,
        "onnx_opset": OPSET,
        "parity": {"examples": compared, "largest_difference": parity},
        **candidate.provenance,
    }
    manifest = build_manifest(
        ensemble,
        release,
        digest_files(stage, directories.values()),
        dataset=candidate.dataset,
        metrics=measure(classifier_onnx) if measure else candidate.metrics,
        created_by=candidate.created_by,
        provenance=provenance,
    )
    save_manifest(manifest, directories[ensemble.name] / MANIFEST_FILE)


def _require_tensorflow() -> None:
    if keras.backend.backend() != "tensorflow":
        message = (
            f"Export needs Keras on TensorFlow; it runs on {keras.backend.backend()}. Set KERAS_BACKEND=tensorflow."
        )
        raise ExportError(message)


def _parity(path: Path, expected: NDArray[np.float32], actual: NDArray[np.float32], tolerance: float) -> float:
    difference = float(np.max(np.abs(expected - actual))) if expected.shape == actual.shape else float("inf")
    if not difference <= tolerance:  # a NaN is a failure too
        message = (
            f"{path.name} of {path.parent.parent.name} differs from Keras by {difference:.1e}; {tolerance} is allowed."
        )
        raise ExportError(message)
    return difference


def _run_saved_model(path: Path, spec: ModelSpec, features: NDArray[np.float32]) -> NDArray[np.float32]:
    loaded = tf.saved_model.load(str(path))
    outputs = loaded.signatures[SIGNATURE](**{spec.input.name: tf.constant(features)})
    return np.asarray(outputs[spec.output.name])


def _move(source: Path, target: Path, aside: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        target.rename(aside)
    source.rename(target)
