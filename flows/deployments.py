"""Every deployment: which flow, with which parameters, and what starts it besides a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.types.entrypoint import EntrypointType

from flows import operations
from flows.dataset_watch import DATASET_CHANGED, watch_dataset
from flows.pipeline import retrain

if TYPE_CHECKING:
    from prefect import Flow

    from flows.settings import FlowSettings

FEEDBACK_READY = "mien.feedback.ready"
DRIFT_DETECTED = "mien.drift.detected"

NAME = "mien"


def deployments(settings: FlowSettings, job_variables: dict[str, Any]) -> list[RunnerDeployment]:
    """What is registered with Prefect's server.

    Args:
        settings: datasets, schedules, work pool.
        job_variables: where and how the work pool runs flows.
    """

    def deploy(flow: Flow[..., Any], name: str = NAME, **options: Any) -> RunnerDeployment:  # noqa: ANN401
        return RunnerDeployment.from_flow(
            flow,
            name=name,
            work_pool_name=settings.work_pool,
            job_variables=job_variables,
            entrypoint_type=EntrypointType.MODULE_PATH,
            tags=["mien"],
            **options,
        )

    one_after_another = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    only_one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    data = {"data": str(settings.retrain_data)} if settings.retrain_data else {}
    release_flows = (getattr(operations, name) for name in operations.__all__)
    found = [
        deploy(
            retrain,
            parameters={**data, "config": settings.retrain_config},
            cron=settings.retrain_schedule or None,
            concurrency_limit=one_after_another,
            triggers=[retrain_on(event, settings) for event in (DATASET_CHANGED, FEEDBACK_READY, DRIFT_DETECTED)],
        ),
        *(deploy(flow) for flow in release_flows),
    ]
    interval = timedelta(seconds=settings.watch_interval_s)
    if settings.retrain_data:
        found.append(deploy(watch_dataset, parameters=data, interval=interval, concurrency_limit=only_one))
    return found


def retrain_on(event: str, settings: FlowSettings) -> DeploymentEventTrigger:
    """Retrain when `event` comes, with the dataset that its payload names as ``data`` or else that of the settings."""
    own = str(settings.retrain_data or "")
    template = f"{{{{ event.payload.data or {own!r} }}}}"
    return DeploymentEventTrigger(
        name=f"mien: retrain on {event}",
        expect={event},
        parameters={
            "data": {"__prefect_kind": "jinja", "template": template},
            "config": settings.retrain_config,
        },
    )
