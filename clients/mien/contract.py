"""What a client and the server agree on: models, tensors, labels.

Every `config.pbtxt` of the model repository is held against this module by a test, and every other package takes
names and shapes from here. The tensors of an ensemble never change: a new contract is a new ensemble name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BATCH_SIZE = 64
"""Most items one request may carry; the SDK splits larger batches."""

FACE_SIZE = 96
"""Side of the square crop, in pixels, that `emotion` takes."""

CONFIDENCE_BOUNDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Upper bounds of the histogram of confidences, for whoever counts or compares them; 1/7 is the least there can be."""

CANDIDATE_SUFFIX = "_candidate"
"""What the name of an ensemble ends with that serves a release on trial beside the one that everybody calls."""

_DTYPES: dict[str, type[np.generic]] = {"UINT8": np.uint8, "FP32": np.float32}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model, without its batch dimension.

    Attributes:
        name: the tensor's name on the wire.
        datatype: Triton's name of the element type, such as ``UINT8``.
        shape: fixed dimensions after the batch dimension.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The NumPy dtype of `datatype`."""
        return np.dtype(_DTYPES[self.datatype])

    def zeros(self, batch_size: int) -> NDArray[np.generic]:
        """A batch of zeros, shape (batch_size, *shape): what warm-up and health checks send."""
        return np.zeros((batch_size, *self.shape), self.dtype)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A served model with one input and one output; `backend` is Triton's name for what runs it."""

    name: str
    input: TensorSpec
    output: TensorSpec
    backend: str


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """What callers call: the members run one after the other, on the server.

    Attributes:
        name: model name on the wire.
        members: the steps, in order; the first takes `input`, the last gives `output`.
        twins: models with the last member's tensors in another format, loaded on demand.
        labels: meaning of the output's columns, in order.
        items: what a row of the input is, in the plural, for sentences.
    """

    name: str
    members: tuple[ModelSpec, ...]
    twins: tuple[ModelSpec, ...]
    labels: tuple[str, ...]
    items: str

    @property
    def input(self) -> TensorSpec:
        """The tensor a caller sends."""
        return self.members[0].input

    @property
    def output(self) -> TensorSpec:
        """The tensor a caller gets."""
        return self.members[-1].output

    @property
    def candidate(self) -> EnsembleSpec:
        """The second ensemble, which serves a release on trial."""
        return replace(self, name=f"{self.name}{CANDIDATE_SUFFIX}")


FACES = TensorSpec("FACES", "UINT8", (FACE_SIZE, FACE_SIZE, 3))
"""RGB crops of faces, 0..255."""

PIXELS = TensorSpec("PIXELS", "FP32", (48, 48, 1))
"""Grey levels 0..255; the classifier's first layer scales them."""

PIXELS_RGB = TensorSpec("PIXELS_RGB", "FP32", FACES.shape)
"""The crops as they are, 0..255, for networks that take colour; their first layer scales them."""

EMOTION_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER-2013's own order, 0..6."""

PROBABILITIES = TensorSpec("PROBABILITIES", "FP32", (len(EMOTION_LABELS),))
"""One probability a label; a row sums to 1."""

EMOTION_PREPROCESS = ModelSpec("emotion_preprocess", FACES, PIXELS, "onnxruntime")
EMOTION_CLASSIFIER = ModelSpec("emotion_classifier", PIXELS, PROBABILITIES, "onnxruntime")
EMOTION_CLASSIFIER_SAVEDMODEL = ModelSpec("emotion_classifier_savedmodel", PIXELS, PROBABILITIES, "tensorflow")

EMOTION = EnsembleSpec(
    name="emotion",
    members=(EMOTION_PREPROCESS, EMOTION_CLASSIFIER),
    twins=(EMOTION_CLASSIFIER_SAVEDMODEL,),
    labels=EMOTION_LABELS,
    items="faces",
)

EMOTION_PREPROCESS_RGB96 = ModelSpec("emotion_preprocess_rgb96", FACES, PIXELS_RGB, "onnxruntime")
EMOTION_CLASSIFIER_RGB96 = ModelSpec("emotion_classifier_rgb96", PIXELS_RGB, PROBABILITIES, "onnxruntime")
EMOTION_CLASSIFIER_RGB96_SAVEDMODEL = ModelSpec(
    "emotion_classifier_rgb96_savedmodel", PIXELS_RGB, PROBABILITIES, "tensorflow"
)

EMOTION_RGB96 = replace(
    EMOTION,
    members=(EMOTION_PREPROCESS_RGB96, EMOTION_CLASSIFIER_RGB96),
    twins=(EMOTION_CLASSIFIER_RGB96_SAVEDMODEL,),
)
"""`emotion` where a release's network takes colour: the same to a caller, other members behind it."""

SAMPLE_RATE_HZ = 16_000
"""Samples a second of the sound that `speech_emotion` takes."""

WINDOW_S = 3.0
"""Length of the stretch of speech that one answer is about; shorter speech is followed by zeros."""

WINDOW_HOP_S = 1.5
"""From one window of a longer recording to the next; its answer is the mean of theirs."""

AUDIO = TensorSpec("AUDIO", "FP32", (int(WINDOW_S * SAMPLE_RATE_HZ),))
"""Samples of one channel, -1..1; loudness makes no difference."""

FUNCTIONALS = TensorSpec("FUNCTIONALS", "FP32", (1367,))
"""Statistics of what a voice does over the frames in which somebody speaks: of mel bands, pitch, harmonicity and the
shape of the spectrum. `training.descriptors` and `training.functionals` say which."""

SPEECH_LABELS = ("angry", "boredom", "disgust", "fear", "happy", "neutral", "sad")
"""The emotions of the Berlin Database of Emotional Speech. Faces have no boredom, speech no surprise."""

SPEECH_PROBABILITIES = TensorSpec("PROBABILITIES", "FP32", (len(SPEECH_LABELS),))
"""One probability a label of speech; a row sums to 1."""

SPEECH_PREPROCESS = ModelSpec("speech_preprocess", AUDIO, FUNCTIONALS, "onnxruntime")
SPEECH_CLASSIFIER = ModelSpec("speech_classifier", FUNCTIONALS, SPEECH_PROBABILITIES, "onnxruntime")

SPEECH_EMOTION = EnsembleSpec(
    name="speech_emotion",
    members=(SPEECH_PREPROCESS, SPEECH_CLASSIFIER),
    twins=(),
    labels=SPEECH_LABELS,
    items="windows of speech",
)

ENSEMBLES = (EMOTION, SPEECH_EMOTION)
"""Every ensemble this version knows, with the members of the shipped release."""

VARIANTS = (EMOTION, EMOTION_RGB96, SPEECH_EMOTION)
"""Every set of members that a release of an ensemble can have."""


def ensemble_named(name: str) -> EnsembleSpec:
    """The ensemble of that name.

    Raises:
        SettingsError: there is none.
    """
    for ensemble in ENSEMBLES:
        if ensemble.name == name:
            return ensemble
    known = ", ".join(ensemble.name for ensemble in ENSEMBLES)
    raise SettingsError(f"There is no ensemble {name!r}; there are {known}.")
