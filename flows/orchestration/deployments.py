"""Every deployment: which flow, with which parameters, and what starts it besides a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger, ResourceSpecification
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.feedback import collection
from flows.feedback.collection import FEEDBACK_READY, collect_feedback
from flows.releases import operations
from flows.retraining import dataset_watch
from flows.retraining.dataset_watch import DATASET_CHANGED, watch_dataset
from flows.retraining.pipeline import retrain
from flows.retraining.search_pipeline import search, search_trials
from flows.retraining.subject import NAME, subjects
from flows.traffic import drift
from flows.traffic.drift import DRIFT_DETECTED, watch_drift
from flows.traffic.pages import read_traffic_settings
from mien.contract import EMOTION
from mien.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect import Flow

    from flows.retraining.subject import Subject
    from flows.settings import FlowSettings


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
    interval = timedelta(seconds=settings.watch_interval_s)

    def watch(flow: Flow[..., Any], name: str = NAME, **parameters: str) -> RunnerDeployment:
        return deploy(flow, name, parameters=parameters, interval=interval, concurrency_limit=one_after_another)

    known = subjects(settings)
    faces = known[EMOTION.name]
    found = [
        *(deploy(getattr(operations, name)) for name in operations.__all__),
        deploy(search, parameters={**faces.parameters, "config": faces.config, "on_work_pool": True}),
        deploy(search_trials),
    ]
    for subject in known.values():
        retraining = deploy(
            retrain,
            subject.name,
            parameters={**subject.parameters, "config": subject.config},
            schedule=_schedule(subject),
            concurrency_limit=one_after_another,
            triggers=[retrain_on(event, resource, subject) for event, resource in _events(subject)],
        )
        found.append(retraining)
        whose = {**subject.parameters, "ensemble": subject.ensemble.name}
        if subject.data:
            found.append(watch(watch_dataset, subject.name, **whose))
        if subject.data or subject is faces:  # one must run in any case: it takes what was erased out of all datasets
            found.append(watch(collect_feedback, subject.name, **whose))
    if read_traffic_settings().urls:
        found.append(watch(watch_drift))
    return found


def _schedule(subject: Subject) -> CronSchedule | None:
    cron, variables = subject.schedule, subject.variables
    if not cron:
        return None
    if subject.data is None:
        raise SettingsError(
            f"{variables}_SCHEDULE is set and {variables}_DATA is not: name the dataset to retrain with."
        )
    try:
        return CronSchedule(cron=cron, timezone="UTC")
    except ValidationError as error:
        raise SettingsError(
            f"{variables}_SCHEDULE is {cron!r}, which is no cron line. 0 3 * * 0 is every Sunday at three, UTC."
        ) from error


def _events(subject: Subject) -> Iterator[tuple[str, str]]:
    """What a retraining begins on, and what the event is of; a drift names no dataset, so there must be one."""
    yield DATASET_CHANGED, dataset_watch.RESOURCE
    yield FEEDBACK_READY, collection.RESOURCE
    if subject.data:
        yield DRIFT_DETECTED, drift.RESOURCE


def retrain_on(event: str, resource: str, subject: Subject) -> DeploymentEventTrigger:
    """Retrain when `event` comes, with the dataset that its payload names as ``data`` or else that of the settings.

    Args:
        event: its name.
        resource: what it is of; the ensemble's name follows.
        subject: what is retrained.
    """
    own = str(subject.data or "")
    template = f"{{{{ event.payload.data or {own!r} }}}}"
    return DeploymentEventTrigger(
        name=f"mien: retrain on {event}" if subject.name == NAME else f"mien: retrain {subject.name} on {event}",
        expect={event},
        match=ResourceSpecification({"prefect.resource.id": f"{resource}.{subject.ensemble.name}"}),
        parameters={
            "data": {"__prefect_kind": "jinja", "template": template},
            "config": subject.config,
        },
    )
