"""Calls that come while others are under way, gathered: they wait for one of those, then go together as one request.

Nobody waits for company: a lone caller's request goes at once, and what has come meanwhile goes as soon as one of
`IN_FLIGHT` requests is answered. `Gathering` decides who goes with whom and waits for nothing itself; `ThreadGatherer`
and `TaskGatherer` do the waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tritonclient.grpc import service_pb2

from mien import contract
from mien.errors import InferenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mien.procedures import Requests

IN_FLIGHT = 2
"""Requests under way at once: while one is classified the next is preprocessed; the rest gathers."""

W = TypeVar("W")


@dataclass(eq=False, frozen=True, slots=True)
class Ticket(Generic[W]):
    """One call's request, and what its caller waits on."""

    step: Requests
    waiter: W

    @property
    def size(self) -> int:
        """Items in the request."""
        return int(self.step.messages[0].inputs[0].shape[0])


@dataclass(frozen=True, slots=True)
class Batch(Generic[W]):
    """Requests that go as one."""

    tickets: tuple[Ticket[W], ...]

    def step(self) -> Requests:
        """The request for all: it has the first one's id and trace, and as much time as the most patient."""
        first = self.tickets[0].step
        if len(self.tickets) == 1:
            return first
        steps = [ticket.step for ticket in self.tickets]
        patient = max(steps, key=lambda step: step.deadline.end)
        return replace(first, messages=[_merge([step.messages[0] for step in steps])], deadline=patient.deadline)

    def share(self, answer: Any) -> list[Any]:  # noqa: ANN401 (a generated message)
        """Each one's part of the answer."""
        return [answer] if len(self.tickets) == 1 else _split(answer, [ticket.size for ticket in self.tickets])


class Gathering(Generic[W]):
    """Who may send now and who goes with whom; may be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._waiting: deque[Ticket[W]] = deque()

    def come(self, ticket: Ticket[W]) -> Batch[W] | None:
        """What to send now; None if `ticket` waits, to be part of what `answered` gives."""
        with self._lock:
            if self._under_way < IN_FLIGHT:
                self._under_way += 1
                return Batch((ticket,))
            self._waiting.append(ticket)
            return None

    def leave(self, ticket: Ticket[W]) -> bool:
        """Wait no longer; False if it is under way by now."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    def answered(self, tell: Callable[[Batch[W]], None]) -> None:
        """A request is over, well or not: `tell` of the next one, if anybody waits."""
        with self._lock:  # nobody may leave between being chosen and being told
            if self._waiting:
                tell(Batch(tuple(self._take())))
            else:
                self._under_way -= 1

    def _take(self) -> list[Ticket[W]]:
        taken = [self._waiting.popleft()]
        room = contract.MAX_BATCH_SIZE - taken[0].size
        while self._waiting and self._waiting[0].size <= room and self._waiting[0].step.model == taken[0].step.model:
            taken.append(self._waiting.popleft())
            room -= taken[-1].size
        return taken


class ThreadGatherer:
    """Sends for many threads: the first caller of each batch sends it for all.

    Args:
        send: sends the one request of a step.
    """

    def __init__(self, send: Callable[[Requests], list[Any]]) -> None:
        self._send = send
        self._gathering: Gathering[Future[Any]] = Gathering()

    def __call__(self, step: Requests) -> list[Any]:
        """The answer to the one request of `step`; raises what `send` raises.

        Raises:
            DeadlineExceededError: nothing came in time.
        """
        ticket: Ticket[Future[Any]] = Ticket(step, Future())
        batch = self._gathering.come(ticket)
        if batch is None:
            outcome = self._wait(ticket)
            if not isinstance(outcome, Batch):
                return [outcome]
            batch = outcome
        return [self._lead(batch)]

    def _wait(self, ticket: Ticket[Future[Any]]) -> Any:  # noqa: ANN401 (an answer, or the batch to lead)
        try:
            return ticket.waiter.result(ticket.step.deadline.remaining_s())
        except TimeoutError:
            if not self._gathering.leave(ticket) and ticket.waiter.done():
                return ticket.waiter.result()
            ticket.step.deadline.check()
            raise
        except Exception:
            raise
        except BaseException:
            if not self._gathering.leave(ticket) and ticket.waiter.done():
                self._abandon(ticket.waiter.result())
            raise

    def _lead(self, batch: Batch[Future[Any]]) -> Any:  # noqa: ANN401 (a generated message)
        others = batch.tickets[1:]
        try:
            (answer,) = self._send(batch.step())
            part, *parts = batch.share(answer)
        except Exception as error:
            for ticket in others:
                ticket.waiter.set_exception(error)
            self._go_on()
            raise
        except BaseException:  # such as Ctrl-C, which is meant for this thread alone
            self._abandon(batch)
            raise
        for ticket, other in zip(others, parts, strict=True):
            ticket.waiter.set_result(other)
        self._go_on()
        return part

    def _abandon(self, batch: Batch[Future[Any]]) -> None:
        for ticket in batch.tickets[1:]:
            ticket.waiter.set_exception(InferenceError("The thread that sent this request was interrupted; try again."))
        self._go_on()

    def _go_on(self) -> None:
        self._gathering.answered(lambda batch: batch.tickets[0].waiter.set_result(batch))


class TaskGatherer:
    """Sends for many tasks of one event loop: each batch by a task of its own, since a caller may be cancelled.

    Args:
        send: sends the one request of a step.
    """

    def __init__(self, send: Callable[[Requests], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._gathering: Gathering[asyncio.Future[Any]] = Gathering()
        self._under_way: set[asyncio.Task[None]] = set()

    async def __call__(self, step: Requests) -> list[Any]:
        """See `ThreadGatherer`."""
        ticket: Ticket[asyncio.Future[Any]] = Ticket(step, asyncio.get_running_loop().create_future())
        if batch := self._gathering.come(ticket):
            self._start(batch)
        try:
            async with asyncio.timeout(step.deadline.remaining_s()):
                return [await ticket.waiter]
        except TimeoutError:
            step.deadline.check()
            raise
        finally:
            self._gathering.leave(ticket)

    def _start(self, batch: Batch[asyncio.Future[Any]]) -> None:
        task = asyncio.create_task(self._lead(batch))
        self._under_way.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._under_way.discard)

    async def _lead(self, batch: Batch[asyncio.Future[Any]]) -> None:
        try:
            (answer,) = await self._send(batch.step())
            parts = batch.share(answer)
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to those who wait)
            for ticket in batch.tickets:
                if not ticket.waiter.done():
                    ticket.waiter.set_exception(error)
        else:
            for ticket, part in zip(batch.tickets, parts, strict=True):
                if not ticket.waiter.done():
                    ticket.waiter.set_result(part)
        finally:
            self._gathering.answered(self._start)


def _merge(messages: Sequence[service_pb2.ModelInferRequest]) -> service_pb2.ModelInferRequest:
    first = messages[0]
    items = sum(message.inputs[0].shape[0] for message in messages)
    return service_pb2.ModelInferRequest(
        model_name=first.model_name,
        model_version=first.model_version,
        id=first.id,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=first.inputs[0].name, datatype=first.inputs[0].datatype, shape=[items, *first.inputs[0].shape[1:]]
            )
        ],
        outputs=first.outputs,
        raw_input_contents=[b"".join(message.raw_input_contents[0] for message in messages)],
    )


def _split(answer: service_pb2.ModelInferResponse, sizes: Sequence[int]) -> list[service_pb2.ModelInferResponse]:
    """The answer by items.

    Raises:
        InferenceError: it is not one tensor with a row for each item, so no part of it can be anybody's.
    """
    total = sum(sizes)
    shapes = [list(output.shape) for output in answer.outputs]
    contents = [len(content) for content in answer.raw_output_contents]
    if len(shapes) != 1 or len(contents) != 1 or shapes[0][:1] != [total] or contents[0] % total:
        raise InferenceError(
            f"Model {answer.model_name!r} answered with shapes {shapes} and {contents} bytes to {total} items."
        )
    (output,), (content,) = answer.outputs, answer.raw_output_contents
    row = len(content) // total
    return [
        service_pb2.ModelInferResponse(
            model_name=answer.model_name,
            model_version=answer.model_version,
            id=answer.id,
            outputs=[
                service_pb2.ModelInferResponse.InferOutputTensor(
                    name=output.name, datatype=output.datatype, shape=[end - start, *output.shape[1:]]
                )
            ],
            raw_output_contents=[content[start * row : end * row]],
        )
        for start, end in pairwise(accumulate(sizes, initial=0))
    ]
