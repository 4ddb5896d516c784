"""Two retrainings on one state folder never overlap, whoever started them."""

from __future__ import annotations

import contextlib
import fcntl
import logging
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def only_run(runs: Path, run_id: UUID) -> Iterator[None]:
    """Wait until no other run works in `runs`; the kernel lets the next one in however this one ends.

    A run that was killed cannot say so, and Prefect would show it as running for good: whoever comes next says it.

    Args:
        runs: folder of the runs.
        run_id: Prefect's id of this one.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / ".running").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Another retraining works in %s; this one waits for its end.", runs)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if killed := file.read().strip():
            _end(UUID(killed))
        _note(file, str(run_id))
        yield
        _note(file, "")


def _note(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _end(run_id: UUID) -> None:
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
        state = client.read_flow_run(run_id).state
        if state is None or not state.is_final():
            logger.warning("Run %s was killed; it is marked as crashed.", run_id)
            client.set_flow_run_state(run_id, Crashed(message="The process of this run was killed."), force=True)
