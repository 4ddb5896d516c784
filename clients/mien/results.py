"""What a client hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.faces import Face


@dataclass(frozen=True, slots=True)
class Emotion:
    """One face's emotions.

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
    """The answer to a batch of N face crops, in the order they were sent.

    Attributes:
        probabilities: (N, labels) float32, each row sums to 1.
        labels: meaning of the columns.
        model_versions: for each row the release that answered it; a batch of more than 64 faces that is sent while a
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
class Result:
    """What the `on_result` hook gets for each classified face, for whoever counts them.

    Attributes:
        label: dominant emotion.
        confidence: its probability.
        ensemble: the model that answered: the one that was called, or the candidate on trial.
        model_version: the release that answered.
        detect_s: seconds spent finding faces in the face's picture; 0 for ready-made crops.
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
    """What the `on_comparison` hook gets for each call that a candidate was shown too: both answers to the same faces.

    Attributes:
        release: the release that answered the caller.
        candidate: the release on trial.
        faces: how many there were.
        agreed: for how many of them both name the same dominant emotion.
        largest_difference: between the two probabilities of any label of any face.
        release_s: seconds the server was asked for by the caller.
        candidate_s: seconds it was asked for afterwards, with the same requests.
        request_id: what the server's and the callers' logs know both by.
    """

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
        reason: ``dropped``, as too many calls were on their way to it already; or ``failed``, as it gave an error, no
            answer in time, or answers of two releases.
        candidate: the release that answered as the candidate last; empty before the first answer.
    """

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
