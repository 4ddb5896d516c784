"""Everything a client can do, written once for threads and for asyncio.

A procedure is a generator: it yields what is to be done next (`Work` in this process or `Requests` to the server), gets
the outcome back, and returns the result. It waits for nothing itself; `mien.client` has one driver that blocks and one
that awaits.
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

from mien import contract, faces, images, inference
from mien.deadline import Deadline
from mien.detectors import load_detector
from mien.errors import InferenceError, ModelNotFoundError
from mien.inference import CallContext
from mien.results import ModelStatus, Predictions, Recognition, RecognizedFace, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.detectors import FaceDetector
    from mien.images import ImageSource
    from mien.settings import ClientSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
OnResult = Callable[[Result], None]


@dataclass(frozen=True, slots=True)
class Work:
    """Something that keeps a processor busy; its outcome is what `function` returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Requests:
    """Calls of one method of the server; the outcome is the list of answers, in order."""

    method: str
    messages: Sequence[Any]
    context: CallContext
    deadline: Deadline
    model: str


Procedure = Generator[Work | Requests, Any, T]


@dataclass(frozen=True, slots=True)
class _Located:
    """A decoded picture's faces, and their crops (N, 96, 96, 3)."""

    width: int
    height: int
    faces: list[faces.Face]
    crops: NDArray[np.uint8]
    detect_s: float


class Procedures:
    """The procedures of one client; may be used by several threads at once.

    Args:
        settings: of the client.
        detector: face detector to use; by default the one that `settings` name, loaded when it is first needed.
        on_result: called once for each classified face, in the thread of the call.
    """

    def __init__(
        self, settings: ClientSettings, detector: FaceDetector | None = None, on_result: OnResult | None = None
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._detector_lock = threading.Lock()
        self._on_result = on_result

    def classify(
        self, crops: NDArray[np.uint8], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Predictions]:
        """Emotions of ready-made crops."""
        deadline, context = self._deadline(deadline_s), CallContext.create(request_id)
        answer, infer_s = yield from self._infer(inference.checked_faces(crops), context, deadline)
        self._report(answer, [0.0] * len(answer), infer_s)
        return answer

    def recognize(
        self, image: ImageSource | NDArray[np.uint8], deadline_s: float | None, request_id: str | None
    ) -> Procedure[Recognition]:
        """Faces of one picture and their emotions."""
        (recognition,) = yield from self.recognize_many([image], deadline_s, request_id)
        return recognition

    def recognize_many(
        self, pictures: Sequence[ImageSource | NDArray[np.uint8]], deadline_s: float | None, request_id: str | None
    ) -> Procedure[list[Recognition]]:
        """Faces of several pictures and their emotions, the faces batched over all of them."""
        context = CallContext.create(request_id)
        # Fetching the detector the very first time has a limit of its own and does not eat up the call's.
        detector: FaceDetector = yield Work(self._load_detector)
        deadline = self._deadline(deadline_s)
        located: list[_Located] = yield Work(lambda: [self._locate(detector, item, deadline) for item in pictures])
        answer, infer_s = yield from self._infer(_joined(located), context, deadline)
        self._report(answer, [item.detect_s for item in located for _ in item.faces], infer_s)
        return _recognitions(located, answer, detector.name, infer_s)

    def is_ready(self, deadline_s: float | None) -> Procedure[bool]:
        """Whether a real inference succeeds; the server's own ready flags stay true when a model has died."""
        face = np.zeros((1, *contract.FACES.shape), np.uint8)
        try:
            yield from self._infer(face, CallContext.create(), self._deadline(deadline_s))
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

    def _locate(self, detector: FaceDetector, image: ImageSource | NDArray[np.uint8], deadline: Deadline) -> _Located:
        deadline.remaining_s()
        started = time.perf_counter()
        picture = images.read_image(image, self._settings.max_pixels)
        found = detector.detect(picture)
        crops = faces.crops(picture, found)
        height, width = picture.shape[:2]
        return _Located(width, height, found, crops, time.perf_counter() - started)

    def _infer(
        self, crops: NDArray[np.uint8], context: CallContext, deadline: Deadline
    ) -> Procedure[tuple[Predictions, float]]:
        started = time.perf_counter()
        requests = inference.infer_requests(
            crops, context, model=self._settings.model, version=self._settings.model_version
        )
        answers = []
        if requests:
            answers = yield Requests("ModelInfer", requests, context, deadline, self._settings.model)
        answer = inference.predictions(answers, [request.inputs[0].shape[0] for request in requests], context)
        return answer, time.perf_counter() - started

    def _report(self, answer: Predictions, detect_s: Sequence[float], infer_s: float) -> None:
        if self._on_result is None:
            return
        for index, seconds in enumerate(detect_s):
            emotion = answer[index]
            result = Result(
                label=emotion.label,
                confidence=emotion.confidence,
                ensemble=self._settings.model,
                model_version=emotion.model_version,
                detect_s=seconds,
                infer_s=infer_s,
                request_id=answer.request_id,
            )
            try:
                self._on_result(result)
            except Exception:
                logger.exception("The on_result hook failed; the call goes on.")


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
