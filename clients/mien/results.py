"""What a client hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from mien.faces import Face


@dataclass(frozen=True, slots=True)
class Emotion:
    """The emotions of one face or one stretch of speech.

    Attributes:
        probabilities: label → probability, in the contract's order; they sum to 1.
        model_version: the release that answered.
    """

    probabilities: dict[str, float]
    model_version: str

    @property
    def label(self) -> str:
        """The dominant emotion."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    @property
    def confidence(self) -> float:
        """Probability of the dominant emotion."""
        return self.probabilities[self.label]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answer to a batch of N face crops, or of N windows of speech, in the order they were sent.

    Attributes:
        probabilities: (N, labels) float32, each row sums to 1.
        labels: meaning of the columns.
        model_versions: for each row the release that answered it; a batch of more than 64 that is sent while a
            release is swapped may hold two.
        request_id: what the server's and the callers' logs know this call by.
    """

    probabilities: NDArray[np.float32]
    labels: tuple[str, ...]
    model_versions: tuple[str, ...]
    request_id: str

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> Emotion:
        row = dict(zip(self.labels, self.probabilities[index].tolist(), strict=True))
        return Emotion(row, self.model_versions[index])


@dataclass(frozen=True, slots=True)
class RecognizedFace:
    """A face found in a picture and its emotion."""

    face: Face
    emotion: Emotion


@dataclass(frozen=True, slots=True)
class Recognition:
    """The answer to one picture.

    Attributes:
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        faces: in reading order of detection, the largest first; empty if there is no face.
        detector: name of the face detector that looked.
        request_id: what the server's and the callers' logs know this call by.
        detect_s: seconds spent on decoding and finding faces in this picture.
        infer_s: seconds the server was asked for, for all pictures of the call together.
    """

    width: int
    height: int
    faces: tuple[RecognizedFace, ...]
    detector: str
    request_id: str
    detect_s: float
    infer_s: float


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """The answer to a stretch of a recording.

    Attributes:
        start_s: where it begins in the recording.
        end_s: where it ends.
        emotion: None where there is silence.
    """

    start_s: float
    end_s: float
    emotion: Emotion | None


@dataclass(frozen=True, slots=True)
class SpeechRecognition:
    """The answer to one recording.

    Attributes:
        duration_s: of the recording.
        windows: in order; each overlaps the one before.
        request_id: what the server's and the callers' logs know this call by.
        infer_s: seconds the server was asked for.
    """

    duration_s: float
    windows: tuple[SpeechWindow, ...]
    request_id: str
    infer_s: float

    @property
    def emotion(self) -> Emotion | None:
        """See `mean_emotion`; None if there is silence throughout."""
        return mean_emotion(window.emotion for window in self.windows)

    @property
    def is_silent(self) -> bool:
        """Whether there is silence throughout."""
        return self.emotion is None


def mean_emotion(emotions: Iterable[Emotion | None]) -> Emotion | None:
    """The plain mean of several answers; None counts for nothing, and is the mean of nothing else.

    Loud windows do not count more: anger is loud and sadness is not, so weights by energy would favour anger. The
    release is that of the last answer.
    """
    known = [emotion for emotion in emotions if emotion is not None]
    if not known:
        return None
    sums: dict[str, float] = {}
    for emotion in known:
        for label, probability in emotion.probabilities.items():
            sums[label] = sums.get(label, 0.0) + probability
    return Emotion({label: total / len(known) for label, total in sums.items()}, known[-1].model_version)


@dataclass(frozen=True, slots=True)
class Result:
    """What the `on_result` hook gets for each classified face or window of speech, for whoever counts them.

    Attributes:
        label: dominant emotion.
        confidence: its probability.
        ensemble: the model that answered: the one that was called, or the candidate on trial.
        model_version: the release that answered.
        detect_s: seconds spent finding faces in the face's picture; 0 for ready-made crops and for speech.
        infer_s: seconds the server was asked for, for the whole call.
        request_id: what the server's and the callers' logs know the call by.
    """

    label: str
    confidence: float
    ensemble: str
    model_version: str
    detect_s: float
    infer_s: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the `on_comparison` hook gets for each call that a candidate was shown too: both answers to the same.

    Attributes:
        ensemble: the model that was called.
        release: the release that answered the caller.
        candidate: the release on trial.
        faces: how many there were, or windows of speech.
        agreed: for how many of them both name the same dominant emotion.
        largest_difference: between the two probabilities of any label of any of them.
        release_s: seconds the server was asked for by the caller.
        candidate_s: seconds it was asked for afterwards, with the same requests.
        request_id: what the server's and the callers' logs know both by.
    """

    ensemble: str
    release: str
    candidate: str
    faces: int
    agreed: int
    largest_difference: float
    release_s: float
    candidate_s: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Miss:
    """What the `on_miss` hook gets when a candidate was due a call and did not answer it.

    Attributes:
        ensemble: the model that was called.
        reason: ``dropped``, as too many calls were on their way to it already; or ``failed``, as it gave an error, no
            answer in time, or answers of two releases.
        candidate: the release that answered as the candidate last; empty before the first answer.
    """

    ensemble: str
    reason: Literal["dropped", "failed"]
    candidate: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the server says about one model.

    Attributes:
        name: the model's name.
        versions: versions it serves, newest last; empty if it is not loaded.
        backend: what runs it, ``ensemble`` for an ensemble.
        members: for an ensemble, each step's model and the version it is pinned to.
        inferences: answered since the server started, over all versions.
        executions: batches run for them, over all versions.
        request_ms: mean time of one answered request on the server, queue and warm-up included; None before the first.
        queue_ms: mean time of it spent waiting; None before the first.
    """

    name: str
    versions: tuple[str, ...]
    backend: str
    members: tuple[tuple[str, str], ...]
    inferences: int
    executions: int
    request_ms: float | None
    queue_ms: float | None

    @property
    def is_loaded(self) -> bool:
        """Whether the server serves any version of it."""
        return bool(self.versions)
