"""Looks whether the served traffic has drifted, and says so with an event that starts a retraining."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.events import emit_event
from prefect.variables import Variable

from flows.orchestration.run_metrics import DRIFT_VARIABLE
from flows.running_server import working_copy
from flows.traffic.pages import TrafficSettings, read_pages, read_traffic_settings
from flows.traffic.stability import DriftSettings, Finding, read_drift_settings
from flows.traffic.window import TrafficWindow
from mien.contract import EMOTION
from serving import read_settings
from training.answer_profile import AnswerProfile

if TYPE_CHECKING:
    from serving import ModelRepository

DRIFT_DETECTED = "mien.drift.detected"
RESOURCE = f"mien.release.{EMOTION.name}"


@flow(name="watch-drift")
def watch_drift(drift: DriftSettings | None = None, traffic: TrafficSettings | None = None) -> Finding:
    """Hold what was served since the last finding against how the release answered when it was measured.

    A drift that has not been reported lately is an event ``mien.drift.detected`` with the finding, of the resource
    ``mien.release.emotion``. If the flow dies in between, the next one reports it again. Let one run at a time: two
    would judge the same traffic.

    Args:
        drift: limits; by default those of the environment.
        traffic: the pages to read; by default those of the environment.

    Raises:
        TrafficError: no page can be read; the traffic counts the next time.
        RepositoryError: the release's manifest cannot be read.
    """
    drift, traffic = drift or read_drift_settings(), traffic or read_traffic_settings()
    settings = read_settings()
    settings.create_state()
    repository = working_copy(settings)
    release = repository.pointer(EMOTION).release
    before = TrafficWindow.load(settings.state)
    finding, window = before.look(read_pages(traffic), release, _own_profile(repository, release), drift)
    logger = get_run_logger()
    for url, reason in finding.unread.items():
        logger.warning("%s could not be read (%s); its traffic counts the next time.", url, reason)
    logger.info(finding.sentence)
    _show(finding)
    _keep_for_metrics(finding, drift)
    if finding.is_news:
        resource = {"prefect.resource.id": RESOURCE, "prefect.resource.name": f"release {release} of {EMOTION.name}"}
        emit_event(DRIFT_DETECTED, resource=resource, payload=finding.as_json())
    window.save(settings.state)
    return finding


def _own_profile(repository: ModelRepository, release: int) -> AnswerProfile | None:
    return AnswerProfile.of_metrics(repository.manifest(EMOTION, release).metrics)


def _keep_for_metrics(finding: Finding, settings: DriftSettings) -> None:
    """Let `flows.exporter` know the figures of the last finding that compared anything."""
    if finding.expected is None or finding.observed is None:
        return
    Variable.set(
        DRIFT_VARIABLE,
        {
            "release": finding.release,
            "label_psi": finding.label_psi,
            "confidence_psi": finding.confidence_psi,
            "max_label_psi": settings.max_label_psi,
            "max_confidence_psi": settings.max_confidence_psi,
            "expected": asdict(finding.expected),
            "observed": asdict(finding.observed),
        },
        overwrite=True,
    )


def _show(finding: Finding) -> None:
    """Put what was compared into Prefect's page of the run."""
    create_markdown_artifact(
        finding.as_markdown(), key="drift", description=f"Release {finding.release}: {finding.status}"
    )
    if finding.expected is not None and finding.observed is not None:
        from flows.traffic.drift_plot import answer_profiles
        from training.page import svg_uri

        picture = svg_uri(answer_profiles(finding.expected, finding.observed))
        create_image_artifact(picture, key="drift-picture", description="Labels and confidences, then and now")
