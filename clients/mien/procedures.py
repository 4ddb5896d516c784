"""Everything a client can do, written once for threads and for asyncio.

A procedure is a generator: it yields what is to be done next (`Work` in this process or `Requests` to the server), gets
the outcome back, and returns the result. What nobody waits for it yields as `Aside`. It waits for nothing itself;
`mien.client` has the driver that blocks, `mien.async_client` the one that awaits.
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

from mien import contract, faces, hooks, images, inference, windows
from mien.deadline import Deadline
from mien.detectors import detect_in_film, load_detector
from mien.errors import InferenceError, ModelNotFoundError
from mien.inference import CallContext
from mien.results import ModelStatus, Predictions, Recognition, RecognizedFace, Result, SpeechRecognition
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
class _Route:
    """Where one kind of call goes.

    Attributes:
        spec: the tensors and labels that all models of it have.
        model: the ensemble that answers.
        version: the release to insist on; empty for the one that is served.
        trial: of a candidate, if there may be one.
    """

    spec: contract.EnsembleSpec
    model: str
    version: str
    trial: Trial | None

    def requests(self, items: NDArray[Any], context: CallContext) -> Sequence[Any]:
        return inference.infer_requests(items, context, model=self.model, version=self.version, spec=self.spec)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a model answered to all items of a call, and how long that took."""

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
        self._faces = self._route(contract.EMOTION, settings.model, settings.model_version, settings.candidate)
        self._speech = self._route(
            contract.SPEECH_EMOTION, settings.speech_model, settings.speech_model_version, settings.speech_candidate
        )

    def close(self) -> None:
        """Report nothing any more of what is still on its way to the candidates."""
        for route in (self._faces, self._speech):
            if route.trial is not None:
                route.trial.close()

    def classify(
        self, crops: NDArray[np.uint8], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Predictions]:
        """Emotions of ready-made crops."""
        deadline, context = self._deadline(deadline_s), CallContext.create(request_id)
        return (yield from self._classify(self._faces, crops, context, deadline))

    def classify_speech(
        self, sound: NDArray[np.float32], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Predictions]:
        """Emotions of ready-made windows of speech."""
        deadline, context = self._deadline(deadline_s), CallContext.create(request_id)
        return (yield from self._classify(self._speech, sound, context, deadline))

    def recognize_speech(
        self, samples: NDArray[Any], rate: float, hop_s: float, deadline_s: float | None, request_id: str | None
    ) -> Procedure[SpeechRecognition]:
        """Emotions over a recording, window by window."""
        deadline, context = self._deadline(deadline_s), CallContext.create(request_id)
        cut: list[windows.Window] = yield Work(lambda: windows.of_recording(samples, rate, hop_s))
        answer = yield from self._answer(self._speech, windows.stacked(cut), context, deadline)
        self._report(answer, [0.0] * len(answer.predictions))
        heard = windows.answered(cut, answer.predictions)
        return SpeechRecognition(cut[-1].end_s, heard, context.request_id, answer.seconds)

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
        answer = yield from self._answer(self._faces, _joined(located), context, deadline)
        self._report(answer, [item.detect_s for item in located for _ in item.faces])
        return _recognitions(located, answer.predictions, detector.name, answer.seconds)

    def is_ready(self, deadline_s: float | None, ensemble: contract.EnsembleSpec = contract.EMOTION) -> Procedure[bool]:
        """Whether a real inference succeeds; the server's own ready flags stay true when a model has died."""
        route = self._faces if ensemble.name == contract.EMOTION.name else self._speech
        try:
            context = CallContext.create()
            requests = route.requests(ensemble.input.zeros(1), context)
            yield from self._ask(route, requests, context, self._deadline(deadline_s))
        except InferenceError as error:
            logger.info("Not ready: %s", error)
            return False
        return True

    def models(self, deadline_s: float | None) -> Procedure[list[ModelStatus]]:
        """What the server serves of the models in the contract and of the one in the settings."""
        deadline, context = self._deadline(deadline_s), CallContext.create()
        statuses = []
        for name in _model_names(self._settings):
            statuses.append((yield from _model_status(name, context, deadline)))  # noqa: PERF401 (each one waits)
        return statuses

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline(self._settings.deadline_s if seconds is None else seconds)

    def _route(self, spec: contract.EnsembleSpec, model: str, version: str, candidate: str) -> _Route:
        trial = Trial(model, candidate, self._settings, self._told) if self._settings.tries_candidate else None
        return _Route(spec, model, version, trial)

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

    def _classify(
        self, route: _Route, items: NDArray[Any], context: CallContext, deadline: Deadline
    ) -> Procedure[Predictions]:
        answer = yield from self._answer(route, inference.checked(items, route.spec.input), context, deadline)
        self._report(answer, [0.0] * len(answer.predictions))
        return answer.predictions

    def _answer(
        self, route: _Route, items: NDArray[Any], context: CallContext, deadline: Deadline
    ) -> Procedure[_Answer]:
        """The answer to a caller, by the model that the settings name or, for a canary call, by the candidate."""
        requests = route.requests(items, context)
        if route.trial is None or not requests:
            return (yield from self._ask(route, requests, context, deadline))
        part = route.trial.part(context.request_id)
        if part == "canary":
            answer = yield from self._ask_candidate(route, route.trial, requests, context, deadline.half())
            if answer is not None:
                return answer
            inference.address(requests, model=route.model, version=route.version)
        answer = yield from self._ask(route, requests, context, deadline)
        if part == "shadow" and route.trial.take_slot():
            yield Aside(self._shadow(route, route.trial, requests, context, answer))
        return answer

    def _shadow(
        self, route: _Route, trial: Trial, requests: Sequence[Any], context: CallContext, answer: _Answer
    ) -> Procedure[None]:
        """Show the candidate what has been answered, with the same messages: the caller may reuse the array."""
        try:
            shown = yield from self._ask_candidate(route, trial, requests, context, self._deadline(None))
        finally:
            trial.free_slot()
        if shown is not None:
            trial.compare(answer.predictions, answer.seconds, shown.predictions, shown.seconds)

    def _ask_candidate(
        self, route: _Route, trial: Trial, requests: Sequence[Any], context: CallContext, deadline: Deadline
    ) -> Procedure[_Answer | None]:
        """The candidate's answer; None if it is not there or fails, which must not become the caller's trouble."""
        inference.address(requests, model=trial.candidate)
        try:
            answer = yield from self._ask(route, requests, context, deadline, trial.candidate)
        except InferenceError as error:
            trial.failed(error)
            return None
        trial.answered(answer.predictions)
        return answer

    def _ask(
        self, route: _Route, requests: Sequence[Any], context: CallContext, deadline: Deadline, candidate: str = ""
    ) -> Procedure[_Answer]:
        model = candidate or route.model
        started, answers = time.perf_counter(), []
        if requests:
            answers = yield Requests("ModelInfer", requests, context, deadline, model, bool(candidate))
        sizes = [request.inputs[0].shape[0] for request in requests]
        predictions = inference.predictions(answers, sizes, context, route.spec)
        return _Answer(predictions, model, time.perf_counter() - started)

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


def _model_names(settings: ClientSettings) -> list[str]:
    known = [
        name
        for ensemble in contract.ENSEMBLES
        for name in (ensemble.name, *(model.name for model in (*ensemble.members, *ensemble.twins)))
    ]
    return list(dict.fromkeys([settings.model, *known, settings.speech_model]))


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
