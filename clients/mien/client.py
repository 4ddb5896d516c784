"""The client for threads. What it does is in `mien.procedures`; here is how it waits."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import grpc
from tritonclient.grpc import service_pb2_grpc

from mien import channel, contract, status
from mien.base_client import REPEATS, REQUESTS_IN_FLIGHT, BaseClient, call_options
from mien.errors import InferenceError, MienError
from mien.gathering import ThreadGatherer
from mien.procedures import Aside, Requests, Work
from mien.trial import SHADOWS_IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mien.images import ImageSource
    from mien.procedures import Procedure, Step, T
    from mien.results import ModelStatus, Predictions, Recognition, SpeechRecognition

logger = logging.getLogger(__name__)


class EmotionClient(BaseClient):
    """Sends faces, pictures and speech to a Triton server and gets emotions back; may be shared by threads.

    Every method may raise any `mien.errors.InferenceError`, and takes `deadline_s`, the seconds for the whole call with
    detection, retries and waiting (by default that of the settings).

    Args:
        server: "host:port" of Triton's gRPC port, or settings; by default settings from the environment (``MIEN_…``).
        detector: face detector to use instead of the one that the settings name.
        on_result: called once for each classified face or window of speech, in the calling thread.
        on_comparison: called for each call that the candidate was shown too (`shadow_share`), in another thread.
        on_miss: called for each call that was meant for the candidate and that it did not answer, though it is there.

    The hooks' errors are logged, not raised.

    Raises:
        SettingsError: a setting does not make sense or a certificate cannot be read.

    Example:
        >>> with EmotionClient("127.0.0.1:8001") as client:
        ...     for face in client.recognize("party.jpg").faces:
        ...         print(face.face.box, face.emotion.label, face.emotion.confidence)
    """

    def _open(self) -> None:
        self._channels = [channel.open_channel(self._settings)]
        if self._settings.tries_candidate:
            self._channels.append(channel.open_channel(self._settings_without_retries))
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(opened) for opened in self._channels]
        self._aside = ThreadPoolExecutor(SHADOWS_IN_FLIGHT, "mien-shadow")
        self._send_gathered = ThreadGatherer(self._send_one)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._is_closed = True
        self._procedures.close()
        for opened in self._channels:
            opened.close()
        self._aside.shutdown(wait=False, cancel_futures=True)  # what is under way has just been cancelled

    def classify(
        self, faces: NDArray[np.uint8], *, deadline_s: float | None = None, request_id: str | None = None
    ) -> Predictions:
        """Emotions of face crops.

        Args:
            faces: (N, 96, 96, 3) uint8, RGB; any N: more than 64 go in several requests.
            deadline_s: seconds for the whole call.
            request_id: to find the call by in logs; by default a random one.

        Raises:
            TensorError: the dtype or shape is another.
        """
        return self._run(self._procedures.classify(faces, deadline_s, request_id))

    def recognize(
        self,
        image: ImageSource | NDArray[np.uint8],
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> Recognition:
        """Find the faces of a picture and their emotions.

        Args:
            image: a path, the bytes of a picture file, a PIL image, or an array (H, W, 3) uint8 in RGB order.
            deadline_s: seconds for the whole call; fetching YuNet the very first time is outside of it.
            request_id: to find the call by in logs; by default a random one.

        Raises:
            MediaError: the picture cannot be used.
            DetectorError: the face detector cannot be loaded.
        """
        return self._run(self._procedures.recognize(image, deadline_s, request_id))

    def recognize_many(
        self,
        images: Sequence[ImageSource | NDArray[np.uint8]],
        *,
        film: bool = False,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> list[Recognition]:
        """`recognize` for several pictures in one call, faces batched over them; one bad picture fails the call.

        Args:
            images: as `recognize` takes them.
            film: they are frames of one film in their order, fractions of a second apart. Faces are then looked for
                less closely where the frames before say that it would show no more: several times as fast.
            deadline_s: seconds for the whole call.
            request_id: to find the call by in logs; by default a random one.
        """
        return self._run(self._procedures.recognize_many(images, deadline_s, request_id, film=film))

    def classify_speech(
        self, sound: NDArray[np.float32], *, deadline_s: float | None = None, request_id: str | None = None
    ) -> Predictions:
        """Emotions of windows of speech.

        Args:
            sound: (N, 48000) float32: 3 s of one channel at 16 kHz each, -1..1, zeros after shorter speech; any N.
            deadline_s: seconds for the whole call.
            request_id: to find the call by in logs; by default a random one.

        Raises:
            TensorError: the dtype or shape is another, or a number is not finite.
        """
        return self._run(self._procedures.classify_speech(sound, deadline_s, request_id))

    def recognize_speech(
        self,
        samples: NDArray[Any],
        rate: float,
        *,
        hop_s: float = contract.WINDOW_HOP_S,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SpeechRecognition:
        """Emotions over a recording of speech, in windows of 3 s that overlap.

        A recording of less than 3 s is one window. For long ones `mien.speech.analyse` needs less memory.

        Args:
            samples: (n,) or (n, channels), of which the mean is taken; int16, int32, or float32 or float64 in -1..1.
            rate: samples a second, 8,000 to 192,000; other than 16,000 needs the extra `audio`.
            hop_s: from the beginning of one window to that of the next, 0.1 to 3.
            deadline_s: seconds for the whole call.
            request_id: to find the call by in logs; by default a random one.

        Returns:
            The windows' emotions; those of silent windows are None, and the server is not asked for them.

        Raises:
            TensorError: samples or rate cannot be used, or there is less than 0.1 s.
            SettingsError: `hop_s` is out of bounds, or the extra is missing.
        """
        return self._run(self._procedures.recognize_speech(samples, rate, hop_s, deadline_s, request_id))

    def models(self, *, deadline_s: float | None = None) -> list[ModelStatus]:
        """What the server says about the models of the contract; needs no admin key."""
        return self._run(self._procedures.models(deadline_s))

    def is_ready(self, *, ensemble: contract.EnsembleSpec = contract.EMOTION, deadline_s: float | None = None) -> bool:
        """Whether a real inference of faces, or of another ensemble, succeeds now."""
        return self._run(self._procedures.is_ready(deadline_s, ensemble))

    def _run(self, procedure: Procedure[T]) -> T:
        self._check_open()
        try:
            step = next(procedure)
            while True:
                try:
                    outcome = self._perform(step)
                except MienError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result

    def _run_aside(self, procedure: Procedure[None]) -> None:
        try:
            self._run(procedure)
        except InferenceError as error:  # this client has been closed
            logger.debug("Not shown to the candidate: %s", error)
        except Exception:
            logger.exception("A shadow call failed; its caller has been answered.")

    def _perform(self, step: Step, repeats: int = REPEATS) -> Any:  # noqa: ANN401 (each step has an outcome of its own)
        if isinstance(step, Work):
            return step.function()
        if isinstance(step, Aside):
            with contextlib.suppress(RuntimeError):  # another thread closes this client, or the interpreter ends
                self._aside.submit(self._run_aside, step.procedure)
            return None
        try:
            if self._is_gathered(step):
                return self._send_gathered(step)
            return self._send_one(step) if len(step.messages) == 1 else self._send_many(step)
        except grpc.RpcError as error:
            if repeats and status.is_anothers_fault(error):
                return self._perform(step, repeats - 1)
            raise self._translate(error, step) from error
        except ValueError as error:  # what grpc raises for a channel that another thread has just closed
            self._check_open()
            raise InferenceError(f"The request could not be sent: {error}.") from error

    def _send_one(self, step: Requests) -> list[Any]:
        method = getattr(self._stubs[step.candidate], step.method)
        return [method(step.messages[0], **call_options(step, step.messages[0]))]

    def _send_many(self, step: Requests) -> list[Any]:
        start = getattr(self._stubs[step.candidate], step.method).future
        waiting = iter(step.messages)
        calls = deque(start(message, **call_options(step, message)) for message in islice(waiting, REQUESTS_IN_FLIGHT))
        answers = []
        try:
            while calls:
                answers.append(calls[0].result())
                calls.popleft()
                calls.extend(start(message, **call_options(step, message)) for message in islice(waiting, 1))
        finally:
            for call in calls:
                call.cancel()
        return answers
