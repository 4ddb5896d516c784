"""The two clients: one for threads, one for asyncio. What they do is in `mien.procedures`; here is how they wait."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import grpc
from tritonclient.grpc import service_pb2_grpc

from mien import channel, status
from mien.errors import InferenceError, MienError
from mien.inference import set_queue_timeout
from mien.procedures import Procedures, Requests, Work
from mien.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mien.detectors import FaceDetector
    from mien.images import ImageSource
    from mien.procedures import OnResult, Procedure, T
    from mien.results import ModelStatus, Predictions, Recognition

REQUESTS_IN_FLIGHT = 2
"""Of one call: while one is classified the next is preprocessed; more would only fill the server's queue."""


class _Client:
    """What both clients share: settings and procedures, and the translation of errors."""

    def __init__(
        self,
        server: str | ClientSettings | None,
        detector: FaceDetector | None,
        on_result: OnResult | None,
    ) -> None:
        if server is None:
            server = ClientSettings()
        self._settings = ClientSettings(endpoints=server) if isinstance(server, str) else server
        self._procedures = Procedures(self._settings, detector, on_result)
        self._is_closed = False

    @property
    def settings(self) -> ClientSettings:
        """What this client was told."""
        return self._settings

    def _check_open(self) -> None:
        if self._is_closed:
            raise InferenceError("This client is closed; make a new one.")

    def _translate(self, error: grpc.RpcError, requests: Requests) -> InferenceError:
        return status.translate(
            error, endpoints=self._settings.endpoints, model=requests.model, deadline_s=requests.deadline.seconds
        )


class EmotionClient(_Client):
    """Sends faces and pictures to a Triton server and gets emotions back; may be shared by threads.

    Every method may raise any `mien.errors.InferenceError`, and takes `deadline_s`, the seconds for the whole call with
    detection, retries and waiting (by default that of the settings).

    Args:
        server: "host:port" of Triton's gRPC port, or settings; by default settings from the environment (``MIEN_…``).
        detector: face detector to use instead of the one that the settings name.
        on_result: called once for each classified face, in the calling thread; its errors are logged, not raised.

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
    ) -> None:
        super().__init__(server, detector, on_result)
        self._channel = channel.open_channel(self._settings)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._is_closed = True
        self._channel.close()

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
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> list[Recognition]:
        """`recognize` for several pictures in one call, faces batched over them; one bad picture fails the call."""
        return self._run(self._procedures.recognize_many(images, deadline_s, request_id))

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

    def _perform(self, step: Work | Requests) -> Any:  # noqa: ANN401 (each step has an outcome of its own)
        if isinstance(step, Work):
            return step.function()
        try:
            return self._send_one(step) if len(step.messages) == 1 else self._send_many(step)
        except grpc.RpcError as error:
            raise self._translate(error, step) from error
        except ValueError as error:  # what grpc raises for a channel that another thread has just closed
            self._check_open()
            raise InferenceError(f"The request could not be sent: {error}.") from error

    def _send_one(self, step: Requests) -> list[Any]:
        method = getattr(self._stub, step.method)
        return [method(step.messages[0], **_call_options(step, step.messages[0]))]

    def _send_many(self, step: Requests) -> list[Any]:
        start = getattr(self._stub, step.method).future
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
    ) -> None:
        super().__init__(server, detector, on_result)
        channel.credentials(self._settings)  # a bad certificate shows here, as in the other client
        self._channel: grpc.aio.Channel | None = None
        self._stub: service_pb2_grpc.GRPCInferenceServiceStub | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()

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
        deadline_s: float | None = None,
        request_id: str | None = None,
    ) -> list[Recognition]:
        """See `EmotionClient.recognize_many`."""
        return await self._run(self._procedures.recognize_many(images, deadline_s, request_id))

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

    async def _perform(self, step: Work | Requests) -> Any:  # noqa: ANN401 (each step has an outcome of its own)
        if isinstance(step, Work):
            return await asyncio.to_thread(step.function)
        try:
            return await self._send(step)
        except grpc.RpcError as error:
            raise self._translate(error, step) from error
        except grpc.aio.UsageError as error:  # what grpc raises for a channel that another task has just closed
            self._check_open()
            raise InferenceError(f"The request could not be sent: {error}.") from error

    async def _send(self, step: Requests) -> list[Any]:
        start = getattr(self._open_stub(), step.method)
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

    def _open_stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        """The stub; its channel belongs to the loop of the first call."""
        if self._stub is None:
            self._channel = channel.open_async_channel(self._settings)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._stub


def _call_options(step: Requests, message: Any) -> dict[str, Any]:  # noqa: ANN401 (a generated message)
    remaining_s = step.deadline.remaining_s()
    if step.method == "ModelInfer":
        set_queue_timeout(message, remaining_s)
    return {"timeout": remaining_s, "metadata": step.context.metadata}
