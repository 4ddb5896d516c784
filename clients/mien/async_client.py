"""The client for asyncio. What it does is in `mien.procedures`; here is how it waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import grpc
from tritonclient.grpc import service_pb2_grpc

from mien import channel, contract, status
from mien.base_client import REPEATS, REQUESTS_IN_FLIGHT, BaseClient, call_options
from mien.errors import InferenceError, MienError
from mien.gathering import TaskGatherer
from mien.procedures import Aside, Requests, Work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mien.images import ImageSource
    from mien.procedures import Procedure, Step, T
    from mien.results import ModelStatus, Predictions, Recognition, SpeechRecognition

logger = logging.getLogger(__name__)


class AsyncEmotionClient(BaseClient):
    """`EmotionClient` for asyncio: the same methods, awaited; for one event loop.

    Pictures are decoded and searched in the loop's thread pool, so the loop stays free.

    Example:
        >>> async with AsyncEmotionClient("127.0.0.1:8001") as client:
        ...     recognition = await client.recognize("party.jpg")
    """

    def _open(self) -> None:
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

    async def is_ready(
        self, *, ensemble: contract.EnsembleSpec = contract.EMOTION, deadline_s: float | None = None
    ) -> bool:
        """See `EmotionClient.is_ready`."""
        return await self._run(self._procedures.is_ready(deadline_s, ensemble))

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
            raise await asyncio.to_thread(self._translate, error, step) from error
        except grpc.aio.UsageError as error:  # what grpc raises for a channel that another task has just closed
            self._check_open()
            raise InferenceError(f"The request could not be sent: {error}.") from error

    async def _send(self, step: Requests) -> list[Any]:
        start = getattr(self._open_stub(candidate=step.candidate), step.method)
        waiting = iter(step.messages)
        calls = deque(start(message, **call_options(step, message)) for message in islice(waiting, REQUESTS_IN_FLIGHT))
        answers = []
        try:
            while calls:
                answers.append(await calls[0])
                calls.popleft()
                calls.extend(start(message, **call_options(step, message)) for message in islice(waiting, 1))
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
