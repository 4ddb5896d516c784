"""Runs that a worker left when it was killed with the processes it had started."""

from __future__ import annotations

import logging

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

logger = logging.getLogger(__name__)

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_WORKER_LABEL = "prefect.worker.name"


def end_lost_runs(worker: str) -> None:
    """Mark the runs of `worker` as crashed whose processes are gone; for the worker's own start, on its machine.

    The automation that waits for a heartbeat (`flows.orchestration.automations`) needs 90 s for it, and its record
    survives a restart of Prefect's server only if that is back within a minute of those (the server sweeps older ones:
    `server.events.expired_bucket_buffer`). After a night without both, the runs would be shown as running for good, and
    let no other take their place.

    Args:
        worker: its name, which no other worker has.
    """
    under_way = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=under_way):
            if run.labels.get(_WORKER_LABEL) == worker and not _has_process(run):
                logger.warning("Run %s was lost with its worker; it is marked as crashed.", run.name)
                client.set_flow_run_state(run.id, Crashed(message="It was lost when its worker ended."), force=True)


def _has_process(run: FlowRun) -> bool:
    try:
        return "prefect" in " ".join(psutil.Process(int(run.infrastructure_pid or 0)).cmdline())
    except (psutil.Error, ValueError):
        return False
