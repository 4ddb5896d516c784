"""Looks whether the served traffic of each ensemble has drifted, and says so with an event that starts a retraining."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.events import emit_event
from prefect.variables import Variable

from flows.orchestration.run_metrics import drift_variable
from flows.running_server import working_copy
from flows.traffic.pages import TrafficSettings, read_pages, read_traffic_settings
from flows.traffic.stability import DriftSettings, Finding, read_drift_settings
from flows.traffic.window import TrafficWindow
from mien.contract import ensemble_named
from serving import read_settings
from serving.advice import release_name
from training.answer_profile import AnswerProfile

if TYPE_CHECKING:
    from pathlib import Path

    from flows.traffic.pages import Pages
    from mien.contract import EnsembleSpec
    from serving import ModelRepository

DRIFT_DETECTED = "mien.drift.detected"
RESOURCE = "mien.release"
"""Of the event, with the ensemble's name after it."""


@flow(name="watch-drift")
def watch_drift(drift: DriftSettings | None = None, traffic: TrafficSettings | None = None) -> list[Finding]:
    """Hold what was served since the last finding against how the release answered when it was measured.

    So for every ensemble that is served (MIEN_ENSEMBLES). A drift that has not been reported lately is an event
    ``mien.drift.detected`` with the finding, of the resource ``mien.release.NAME`` after the ensemble. If the flow dies
    in between, the next one reports it again. Let one run at a time: two would judge the same traffic.

    Args:
        drift: limits; by default those of the environment.
        traffic: the pages to read; by default those of the environment.

    Returns:
        What was found of each ensemble.

    Raises:
        TrafficError: no page can be read; the traffic counts the next time.
        RepositoryError: a release's manifest cannot be read.
    """
    drift, traffic = drift or read_drift_settings(), traffic or read_traffic_settings()
    settings = read_settings()
    settings.create_state()
    repository = working_copy(settings)
    pages = read_pages(traffic)
    for url, reason in pages.unread.items():
        get_run_logger().warning("%s could not be read (%s); its traffic counts the next time.", url, reason)
    return [_look(ensemble, pages, repository, settings.state, drift) for ensemble in settings.ensembles]


def _look(
    ensemble: EnsembleSpec, pages: Pages, repository: ModelRepository, state: Path, drift: DriftSettings
) -> Finding:
    release = repository.pointer(ensemble).release
    before = TrafficWindow.load(state, ensemble)
    own = AnswerProfile.of_metrics(repository.manifest(ensemble, release).metrics, ensemble.labels)
    finding, window = before.look(pages, release, own, drift)
    get_run_logger().info(finding.sentence)
    _show(finding)
    _keep_for_metrics(finding, drift)
    if finding.is_news:
        resource = {
            "prefect.resource.id": f"{RESOURCE}.{ensemble.name}",
            "prefect.resource.name": f"release {release} of {ensemble.name}",
        }
        emit_event(DRIFT_DETECTED, resource=resource, payload=finding.as_json())
    window.save(state)
    return finding


def _keep_for_metrics(finding: Finding, settings: DriftSettings) -> None:
    """Let `flows.exporter` know the figures of the last finding that compared anything."""
    if finding.expected is None or finding.observed is None:
        return
    Variable.set(
        drift_variable(finding.ensemble),
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
    key = f"drift-{finding.ensemble.replace('_', '-')}"  # a key of Prefect's has no underscores
    title = f"{release_name(finding.release, ensemble_named(finding.ensemble))}: {finding.status}"
    create_markdown_artifact(finding.as_markdown(), key=key, description=title)
    if finding.expected is not None and finding.observed is not None:
        from flows.traffic.drift_plot import answer_profiles
        from training.page import svg_uri

        items = ensemble_named(finding.ensemble).items
        picture = svg_uri(answer_profiles(finding.expected, finding.observed, items))
        create_image_artifact(picture, key=f"{key}-picture", description="Labels and confidences, then and now")
