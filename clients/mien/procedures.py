"""Everything a client can do, written once for threads and for asyncio.

A procedure is a generator: it yields what is to be done next (`Work` in this process or `Requests` to the server), gets
the outcome back, and returns the result. What nobody waits for it yields as `Aside`. It waits for nothing itself;
`mien.client` has one driver that blocks and one that awaits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from tritonclient.grpc import service_pb2

from mien import contract, faces, hooks, images, inference
from mien.deadline import Deadline
from mien.detectors import detect_in_film, load_detector
from mien.errors import InferenceError, ModelNotFoundError
from mien.inference import CallContext
from mien.results import ModelStatus, Predictions, Recognition, RecognizedFace, Result
from mien.trial import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.detectors import FaceDetector
    from mien.hooks import Hooks
    from mien.images import ImageSource
    from mien.settings import ClientSettings

    Detect = Callable[[NDArray[np.uint8]], list[faces.Face]]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """Something that keeps a processor busy; its outcome is what `function` returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Requests:
    """Calls of one method of the server; the outcome is the list of answers, in order.

    Requests to a `candidate` are not sent again when they fail: it may not be there, and then somebody else answers.
    """

    method: str
    messages: Sequence[Any]
    context: CallContext
    deadline: Deadline
    model: str
    candidate: bool = False


@dataclass(frozen=True, slots=True)
class Aside:
    """A procedure to be started and not waited for; it has no outcome, and its end changes nothing for the caller."""

    procedure: Procedure[None]


Step = Work | Requests | Aside
Procedure = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class _Located:
    """A decoded picture's faces, and their crops (N, 96, 96, 3)."""

    width: int
    height: int
    faces: list[faces.Face]
    crops: NDArray[np.uint8]
    detect_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a model answered to all crops of a call, and how long that took."""

    predictions: Predictions
    model: str
    seconds: float


class Procedures:
    """The procedures of one client; may be used by several threads at once.

    Args:
        settings: of the client.
        detector: face detector to use; by default the one that `settings` name, loaded when it is first needed.
        told: the hooks; `on_result` is called in the thread of the call, the others where the candidate has answered.
    """

    def __init__(self, settings: ClientSettings, detector: FaceDetector | None, told: Hooks) -> None:
        self._settings = settings
        self._detector = detector
        self._detector_lock = threading.Lock()
        self._told = told
        self._trial = Trial(settings, told) if settings.tries_candidate else None

    def close(self) -> None:
        """Report nothing any more of what is still on its way to the candidate."""
        if self._trial is not None:
            self._trial.close()

    def classify(
        self, crops: NDArray[np.uint8], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Predictions]:
        """Emotions of ready-made crops."""
        deadline, context = self._deadline(deadline_s), CallContext.create(request_id)
        answer = yield from self._answer(inference.checked_faces(crops), context, deadline)
        self._report(answer, [0.0] * len(answer.predictions))
        return answer.predictions

    def recognize(
        self, image: ImageSource | NDArray[np.uint8], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Recognition]:
        """Faces of one picture and their emotions."""
        (recognition,) = yield from self.recognize_many([image], deadline_s, request_id)
        return recognition

    def recognize_many(
        self,
        pictures: Sequence[ImageSource | NDArray[np.uint8]],
        deadline_s: float | None,
        request_id: str | None,
        *,
        film: bool = False,
    ) -> Procedure[list[Recognition]]:
        """Faces of several pictures and their emotions, the faces batched over all of them."""
        context = CallContext.create(request_id)
        # Fetching the detector the very first time has a limit of its own and does not eat up the call's.
        detector: FaceDetector = yield Work(self._load_detector)
        deadline = self._deadline(deadline_s)
        detect = detect_in_film(detector) if film else detector.detect
        located: list[_Located] = yield Work(lambda: [self._locate(detect, item, deadline) for item in pictures])
        answer = yield from self._answer(_joined(located), context, deadline)
        self._report(answer, [item.detect_s for item in located for _ in item.faces])
        return _recognitions(located, answer.predictions, detector.name, answer.seconds)

    def is_ready(self, deadline_s: float | None) -> Procedure[bool]:
        """Whether a real inference succeeds; the server's own ready flags stay true when a model has died."""
        face = np.zeros((1, *contract.FACES.shape), np.uint8)
        try:
            context = CallContext.create()
            yield from self._ask(self._requests(face, context), context, self._deadline(deadline_s))
        except InferenceError as error:
            logger.info("Not ready: %s", error)
            return False
        return True

    def models(self, deadline_s: float | None) -> Procedure[list[ModelStatus]]:
        """What the server serves of the models in the contract and of the one in the settings."""
        deadline, context = self._deadline(deadline_s), CallContext.create()
        statuses = []
        for name in _model_names(self._settings.model):
            statuses.append((yield from _model_status(name, context, deadline)))  # noqa: PERF401 (each one waits)
        return statuses

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline(self._settings.deadline_s if seconds is None else seconds)

    def _load_detector(self) -> FaceDetector:
        with self._detector_lock:
            if self._detector is None:
                self._detector = load_detector(self._settings)
            return self._detector

    def _locate(self, detect: Detect, image: ImageSource | NDArray[np.uint8], deadline: Deadline) -> _Located:
        deadline.remaining_s()
        started = time.perf_counter()
        picture = images.read_image(image, self._settings.max_pixels)
        found = detect(picture)
        crops = faces.crops(picture, found)
        height, width = picture.shape[:2]
        return _Located(width, height, found, crops, time.perf_counter() - started)

    def _answer(self, crops: NDArray[np.uint8], context: CallContext, deadline: Deadline) -> Procedure[_Answer]:
        """The answer to a caller, by the model that the settings name or, for a canary call, by the candidate."""
        requests = self._requests(crops, context)
        if self._trial is None or not requests:
            return (yield from self._ask(requests, context, deadline))
        part = self._trial.part(context.request_id)
        if part == "canary":
            answer = yield from self._ask_candidate(self._trial, requests, context, deadline.half())
            if answer is not None:
                return answer
            inference.address(requests, model=self._settings.model, version=self._settings.model_version)
        answer = yield from self._ask(requests, context, deadline)
        if part == "shadow" and self._trial.take_slot():
            yield Aside(self._shadow(self._trial, requests, context, answer))
        return answer

    def _shadow(self, trial: Trial, requests: Sequence[Any], context: CallContext, answer: _Answer) -> Procedure[None]:
        """Show the candidate what has been answered, with the same messages: the caller may reuse the array."""
        try:
            shown = yield from self._ask_candidate(trial, requests, context, self._deadline(None))
        finally:
            trial.free_slot()
        if shown is not None:
            trial.compare(answer.predictions, answer.seconds, shown.predictions, shown.seconds)

    def _ask_candidate(
        self, trial: Trial, requests: Sequence[Any], context: CallContext, deadline: Deadline
    ) -> Procedure[_Answer | None]:
        """The candidate's answer; None if it is not there or fails, which must not become the caller's trouble."""
        inference.address(requests, model=trial.candidate)
        try:
            answer = yield from self._ask(requests, context, deadline, trial.candidate)
        except InferenceError as error:
            trial.failed(error)
            return None
        trial.answered(answer.predictions)
        return answer

    def _ask(
        self, requests: Sequence[Any], context: CallContext, deadline: Deadline, candidate: str = ""
    ) -> Procedure[_Answer]:
        model = candidate or self._settings.model
        started, answers = time.perf_counter(), []
        if requests:
            answers = yield Requests("ModelInfer", requests, context, deadline, model, bool(candidate))
        predictions = inference.predictions(answers, [request.inputs[0].shape[0] for request in requests], context)
        return _Answer(predictions, model, time.perf_counter() - started)

    def _requests(self, crops: NDArray[np.uint8], context: CallContext) -> Sequence[Any]:
        return inference.infer_requests(
            crops, context, model=self._settings.model, version=self._settings.model_version
        )

    def _report(self, answer: _Answer, detect_s: Sequence[float]) -> None:
        if self._told.on_result is None:
            return
        for index, seconds in enumerate(detect_s):
            emotion = answer.predictions[index]
            result = Result(
                label=emotion.label,
                confidence=emotion.confidence,
                ensemble=answer.model,
                model_version=emotion.model_version,
                detect_s=seconds,
                infer_s=answer.seconds,
                request_id=answer.predictions.request_id,
            )
            hooks.call(self._told.on_result, result)


def _joined(located: Sequence[_Located]) -> NDArray[np.uint8]:
    return (
        np.concatenate([item.crops for item in located]) if located else np.zeros((0, *contract.FACES.shape), np.uint8)
    )


def _recognitions(located: Sequence[_Located], answer: Predictions, detector: str, infer_s: float) -> list[Recognition]:
    emotions = iter(range(len(answer)))
    return [
        Recognition(
            width=item.width,
            height=item.height,
            faces=tuple(RecognizedFace(face, answer[next(emotions)]) for face in item.faces),
            detector=detector,
            request_id=answer.request_id,
            detect_s=item.detect_s,
            infer_s=infer_s,
        )
        for item in located
    ]


def _model_names(called: str) -> list[str]:
    known = [
        name
        for ensemble in contract.ENSEMBLES
        for name in (ensemble.name, *(model.name for model in (*ensemble.members, *ensemble.twins)))
    ]
    return list(dict.fromkeys([called, *known]))


def _model_status(name: str, context: CallContext, deadline: Deadline) -> Procedure[ModelStatus]:
    def ask(method: str, message: object) -> Procedure[Any]:
        (answer,) = yield Requests(method, [message], context, deadline, name)
        return answer

    try:
        metadata = yield from ask("ModelMetadata", service_pb2.ModelMetadataRequest(name=name))
        config = (yield from ask("ModelConfig", service_pb2.ModelConfigRequest(name=name))).config
        counts = (yield from ask("ModelStatistics", service_pb2.ModelStatisticsRequest(name=name))).model_stats
    except ModelNotFoundError:
        return ModelStatus(name, (), "", (), 0, 0, None, None)
    return ModelStatus(
        name=name,
        versions=tuple(sorted(metadata.versions, key=int)),
        backend=config.backend or config.platform,
        members=tuple((step.model_name, _version(step.model_version)) for step in config.ensemble_scheduling.step),
        inferences=sum(version.inference_count for version in counts),
        executions=sum(version.execution_count for version in counts),
        request_ms=_mean_ms([version.inference_stats.success for version in counts]),
        queue_ms=_mean_ms([version.inference_stats.queue for version in counts]),
    )


def _version(number: int) -> str:
    return str(number) if number >= 0 else "latest"


def _mean_ms(durations: Sequence[Any]) -> float | None:
    count = sum(duration.count for duration in durations)
    return sum(duration.ns for duration in durations) / count / 1e6 if count else None
