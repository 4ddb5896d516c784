"""A dataset's examples as a network takes them: faces by NumPy, speech by the graph or the layers that serve it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mien.contract import AUDIO, SPEECH_PREPROCESS
from training.onnx_inference import BATCH_SIZE, OnnxModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from training.dataset import Split

    Prepare = Callable[[NDArray[Any]], NDArray[np.float32]]


def as_input(faces: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Enlarge grey faces as crops of photographs are enlarged, and repeat grey for each colour.

    Args:
        faces: (N, H, W, 1) grey levels 0..255, any number type.
        shape: height, width and channels of the network's input.

    Returns:
        (N, *shape) float32; `faces` themselves where they have the shape already.
    """
    height, width, channels = shape
    grey = faces.astype(np.float32)
    if grey.shape[1:3] != (height, width):
        enlarged = [cv2.resize(face, (width, height), interpolation=cv2.INTER_LINEAR) for face in grey[..., 0]]
        grey = np.asarray(enlarged, np.float32)[..., None]
    return grey if grey.shape[-1] == channels else np.repeat(grey, channels, axis=-1)


def preparing(ensemble: EnsembleSpec, beside: Path | None = None) -> Prepare:
    """What makes the input of an ensemble's classifier from a dataset's examples.

    Args:
        ensemble: with the members that the classifier is one of.
        beside: the classifier's ONNX file. Where it lies in a model repository, speech goes through the preprocessing
            graph of the same release; elsewhere, and for Keras weights, through the layers that graphs are made from.
    """
    shape = ensemble.members[-1].input.shape
    if ensemble.input != AUDIO:
        return lambda faces: as_input(faces, shape)
    if beside is not None:
        version = beside.parent
        exported = version.parent.with_name(SPEECH_PREPROCESS.name) / version.name / beside.name
        if exported.is_file():
            return OnnxModel(exported)
    return _layers(ensemble)


def prepared(split: Split, ensemble: EnsembleSpec) -> Split:
    """A split as training takes it: speech as functionals, once and for all epochs; faces as they are."""
    if ensemble.input != AUDIO:
        return split
    prepare = _layers(ensemble)
    parts = [prepare(split.examples[i : i + BATCH_SIZE]) for i in range(0, len(split), BATCH_SIZE)]
    return replace(split, examples=np.concatenate(parts))


def _layers(ensemble: EnsembleSpec) -> Prepare:
    from training import preprocessing  # imports Keras, which ONNX files can do without

    model = preprocessing.PREPROCESSING[ensemble.members[-1].input]()
    return lambda examples: np.asarray(model.predict_on_batch(examples), np.float32)
