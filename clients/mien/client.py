"""The two clients: one for threads, one for asyncio. What they do is in `mien.procedures`; here is how they wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import grpc
from tritonclient.grpc import service_pb2_grpc

from mien import channel, contract, status
from mien.errors import InferenceError, MienError
from mien.gathering import TaskGatherer, ThreadGatherer
from mien.hooks import Hooks
from mien.inference import set_queue_timeout
from mien.procedures import Aside, Procedures, Requests, Work
from mien.settings import ClientSettings
from mien.trial import SHADOWS_IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mien.detectors import FaceDetector
    from mien.hooks import OnComparison, OnMiss, OnResult
    from mien.images import ImageSource
    from mien.procedures import Procedure, Step, T
    from mien.results import ModelStatus, Predictions, Recognition, SpeechRecognition

logger = logging.getLogger(__name__)

REPEATS = 8
"""How often requests go again that failed by what another caller sent; gRPC's own retries know codes alone."""

REQUESTS_IN_FLIGHT = 2
"""Of one call: while one is classified the next is preprocessed; more would only fill the server's queue."""


class _Client:
    """What both clients share: settings and procedures, and the translation of errors."""

    def __init__(
        self,
        server: str | ClientSettings | None = None,
        *,
        detector: FaceDetector | None = None,
        on_result: OnResult | None = None,
        on_comparison: OnComparison | None = None,
        on_miss: OnMiss | None = None,
    ) -> None:
        if server is None:
            server = ClientSettings()
        self._settings = ClientSettings(endpoints=server) if isinstance(server, str) else server
        self._procedures = Procedures(self._settings, detector, Hooks(on_result, on_comparison, on_miss))
        self._is_closed = False

    @property
    def settings(self) -> ClientSettings:
        """What this client was told."""
        return self._settings

    @property
    def _settings_without_retries(self) -> ClientSettings:
        """Of the channel to the candidate: gRPC knows retries of a channel, not of a call."""
        return self._settings.model_copy(update={"retry_attempts": 1})

    def _is_gathered(self, step: Requests) -> bool:
        """Whether it may go together with others; what is on trial is not mixed with what is asked for."""
        alone = not self._settings.gather or step.candidate
        return not alone and step.method == "ModelInfer" and len(step.messages) == 1

    def _check_open(self) -> None:
        if self._is_closed:
            raise InferenceError("This client is closed; make a new one.")

    def _translate(self, error: grpc.RpcError, requests: Requests) -> InferenceError:
        return status.translate(
            error, endpoints=self._settings.endpoints, model=requests.model, deadline_s=requests.deadline.seconds
        )


class EmotionClient(_Client):
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

    def __init__(
        self,
        server: str | ClientSettings | None = None,
        *,
        detector: FaceDetector | None = None,
        on_result: OnResult | None = None,
        on_comparison: OnComparison | None = None,
        on_miss: OnMiss | None = None,
    ) -> None:
        super().__init__(server, detector=detector, on_result=on_result, on_comparison=on_comparison, on_miss=on_miss)
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

    def is_ready(self, *, deadline_s: float | None = None) -> bool:
        """Whether a real inference succeeds now."""
        return self._run(self._procedures.is_ready(deadline_s))

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
        return [method(step.messages[0], **_call_options(step, step.messages[0]))]

    def _send_many(self, step: Requests) -> list[Any]:
        start = getattr(self._stubs[step.candidate], step.method).future
        waiting = iter(step.messages)
        calls = deque(start(message, **_call_options(step, message)) for message in islice(waiting, REQUESTS_IN_FLIGHT))
        answers = []
        try:
            while calls:
                answers.append(calls[0].result())
                calls.popleft()
                calls.extend(start(message, **_call_options(step, message)) for message in islice(waiting, 1))
        finally:
            for call in calls:
                call.cancel()
        return answers


class AsyncEmotionClient(_Client):
    """`EmotionClient` for asyncio: the same methods, awaited; for one event loop.

    Pictures are decoded and searched in the loop's thread pool, so the loop stays free.

    Example:
        >>> async with AsyncEmotionClient("127.0.0.1:8001") as client:
        ...     recognition = await client.recognize("party.jpg")
    """

    def __init__(
        self,
        server: str | ClientSettings | None = None,
        *,
        detector: FaceDetector | None = None,
        on_result: OnResult | None = None,
        on_comparison: OnComparison | None = None,
        on_miss: OnMiss | None = None,
    ) -> None:
        super().__init__(server, detector=detector, on_result=on_result, on_comparison=on_comparison, on_miss=on_miss)
        channel.credentials(self._settings)  # a bad certificate shows here, as in the other client
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: dict[bool, service_pb2_grpc.GRPCInferenceServiceStub] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._send_gathered = TaskGatherer(self._send)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._is_closed = True
        self._procedures.close()
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)
        for opened in self._channels:
            await opened.close()

    async def classify(
        self, faces: NDArray[np.uint8], *, deadline_s: float | None = None, request_id: str | None = None
    ) -> Predictions:
        """See `EmotionClient.classify`."""
        return await self._run(self._procedures.classify(faces, deadline_s, request_id))

    async def recognize(
        self,
        image: ImageSource | NDArray[np.uint8],
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> Recognition:
        """See `EmotionClient.recognize`."""
        return await self._run(self._procedures.recognize(image, deadline_s, request_id))

    async def recognize_many(
        self,
        images: Sequence[ImageSource | NDArray[np.uint8]],
        *,
        film: bool = False,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> list[Recognition]:
        """See `EmotionClient.recognize_many`."""
        return await self._run(self._procedures.recognize_many(images, deadline_s, request_id, film=film))

    async def classify_speech(
        self, sound: NDArray[np.float32], *, deadline_s: float | None = None, request_id: str | None = None
    ) -> Predictions:
        """See `EmotionClient.classify_speech`."""
        return await self._run(self._procedures.classify_speech(sound, deadline_s, request_id))

    async def recognize_speech(
        self,
        samples: NDArray[Any],
        rate: float,
        *,
        hop_s: float = contract.WINDOW_HOP_S,
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> SpeechRecognition:
        """See `EmotionClient.recognize_speech`."""
        return await self._run(self._procedures.recognize_speech(samples, rate, hop_s, deadline_s, request_id))

    async def models(self, *, deadline_s: float | None = None) -> list[ModelStatus]:
        """See `EmotionClient.models`."""
        return await self._run(self._procedures.models(deadline_s))

    async def is_ready(self, *, deadline_s: float | None = None) -> bool:
        """See `EmotionClient.is_ready`."""
        return await self._run(self._procedures.is_ready(deadline_s))

    async def _run(self, procedure: Procedure[T]) -> T:
        self._check_open()
        try:
            step = next(procedure)
            while True:
                try:
                    outcome = await self._perform(step)
                except MienError as error:
                    step = procedure.throw(error)
                else:
                    step = procedure.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _run_aside(self, procedure: Procedure[None]) -> None:
        try:
            await self._run(procedure)
        except InferenceError as error:  # this client has been closed
            logger.debug("Not shown to the candidate: %s", error)
        except Exception:
            logger.exception("A shadow call failed; its caller has been answered.")

    async def _perform(self, step: Step, repeats: int = REPEATS) -> Any:  # noqa: ANN401 (each step has an outcome of its own)
        if isinstance(step, Work):
            return await asyncio.to_thread(step.function)
        if isinstance(step, Aside):
            task = asyncio.create_task(self._run_aside(step.procedure))
            self._aside.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._aside.discard)
            return None
        try:
            return await (self._send_gathered(step) if self._is_gathered(step) else self._send(step))
        except grpc.RpcError as error:
            if repeats and status.is_anothers_fault(error):
                return await self._perform(step, repeats - 1)
            raise self._translate(error, step) from error
        except grpc.aio.UsageError as error:  # what grpc raises for a channel that another task has just closed
            self._check_open()
            raise InferenceError(f"The request could not be sent: {error}.") from error

    async def _send(self, step: Requests) -> list[Any]:
        start = getattr(self._open_stub(candidate=step.candidate), step.method)
        waiting = iter(step.messages)
        calls = deque(start(message, **_call_options(step, message)) for message in islice(waiting, REQUESTS_IN_FLIGHT))
        answers = []
        try:
            while calls:
                answers.append(await calls[0])
                calls.popleft()
                calls.extend(start(message, **_call_options(step, message)) for message in islice(waiting, 1))
        finally:
            for call in calls:
                call.cancel()
        return answers

    def _open_stub(self, *, candidate: bool) -> service_pb2_grpc.GRPCInferenceServiceStub:
        """The stub; its channel belongs to the loop of the first call."""
        if candidate not in self._stubs:
            settings = self._settings_without_retries if candidate else self._settings
            self._channels.append(channel.open_async_channel(settings))
            self._stubs[candidate] = service_pb2_grpc.GRPCInferenceServiceStub(self._channels[-1])
        return self._stubs[candidate]


def _call_options(step: Requests, message: Any) -> dict[str, Any]:  # noqa: ANN401 (a generated message)
    remaining_s = step.deadline.remaining_s()
    if step.method == "ModelInfer":
        set_queue_timeout(message, remaining_s)
    return {"timeout": remaining_s, "metadata": step.context.metadata}
