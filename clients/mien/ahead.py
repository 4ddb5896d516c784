"""Batches worked on ahead: while one waits for the server, the next is made."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from mien.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

IN_FLIGHT = 2

T = TypeVar("T")
R = TypeVar("R")


def answered(batches: Iterator[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Each batch and what `work` makes of it, in order; at most `IN_FLIGHT` batches are held.

    A MediaError of `batches`, which ends them, is raised after what came before it.
    """
    pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="mien-ahead")
    pending: deque[tuple[T, Future[R]]] = deque()
    problem: MediaError | None = None
    try:
        while True:
            try:
                batch = next(batches, None)
            except MediaError as error:
                problem, batch = error, None
            if batch is not None:
                pending.append((batch, pool.submit(work, batch)))
            if batch is None or len(pending) >= IN_FLIGHT:
                if not pending:
                    break
                done, answer = pending.popleft()
                yield done, answer.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if problem is not None:
        raise problem
