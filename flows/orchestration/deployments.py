"""Every deployment: which flow, with which parameters, and what starts it besides a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.feedback.collection import FEEDBACK_READY, collect_feedback
from flows.releases import operations
from flows.retraining.dataset_watch import DATASET_CHANGED, watch_dataset
from flows.retraining.pipeline import retrain
from flows.retraining.search_pipeline import search, search_trials
from flows.traffic.drift import DRIFT_DETECTED, watch_drift
from flows.traffic.pages import read_traffic_settings
from mien.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from prefect import Flow

    from flows.settings import FlowSettings

NAME = "mien"
SPEECH = "speech"
"""Of the retraining with recordings; every other deployment is called `NAME`."""


def deployments(settings: FlowSettings, job_variables: dict[str, Any]) -> list[RunnerDeployment]:
    """What is registered with Prefect's server.

    Args:
        settings: datasets, schedules, work pool.
        job_variables: where and how the work pool runs flows.

    Raises:
        SettingsError: the schedule is none, or has no dataset.
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
    data = {"data": str(settings.retrain_data)} if settings.retrain_data else {}
    speech = {"data": str(settings.retrain_speech_data)} if settings.retrain_speech_data else {}
    release_flows = (getattr(operations, name) for name in operations.__all__)
    found = [
        deploy(
            retrain,
            parameters={**data, "config": settings.retrain_config},
            schedule=_schedule("MIEN_RETRAIN", settings.retrain_schedule, settings.retrain_data),
            concurrency_limit=one_after_another,
            triggers=[retrain_on(event, settings) for event in (DATASET_CHANGED, FEEDBACK_READY, DRIFT_DETECTED)],
        ),
        deploy(
            retrain,
            SPEECH,
            parameters={**speech, "config": settings.retrain_speech_config},
            schedule=_schedule("MIEN_RETRAIN_SPEECH", settings.retrain_speech_schedule, settings.retrain_speech_data),
            concurrency_limit=one_after_another,
        ),
        *(deploy(flow) for flow in release_flows),
        deploy(search, parameters={**data, "config": settings.retrain_config, "on_work_pool": True}),
        deploy(search_trials),
    ]
    interval = timedelta(seconds=settings.watch_interval_s)
    found.append(deploy(collect_feedback, parameters=data, interval=interval, concurrency_limit=one_after_another))
    if settings.retrain_data:
        found.append(deploy(watch_dataset, parameters=data, interval=interval, concurrency_limit=one_after_another))
    if read_traffic_settings().urls:
        found.append(deploy(watch_drift, interval=interval, concurrency_limit=one_after_another))
    return found


def _schedule(prefix: str, cron: str, data: Path | None) -> CronSchedule | None:
    if not cron:
        return None
    if data is None:
        raise SettingsError(f"{prefix}_SCHEDULE is set and {prefix}_DATA is not: name the dataset to retrain with.")
    try:
        return CronSchedule(cron=cron, timezone="UTC")
    except ValidationError as error:
        raise SettingsError(
            f"{prefix}_SCHEDULE is {cron!r}, which is no cron line. 0 3 * * 0 is every Sunday at three, UTC."
        ) from error


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
