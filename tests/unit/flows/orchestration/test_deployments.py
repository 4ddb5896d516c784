"""What is registered with Prefect, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect.events import DeploymentEventTrigger

from flows.orchestration.deployments import deployments
from flows.settings import FlowSettings, read_flow_settings
from mien.errors import SettingsError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def registered(**settings: object) -> dict[str, RunnerDeployment]:
    found = deployments(FlowSettings(**settings), {"working_dir": "/somewhere"})  # type: ignore[arg-type]
    return {deployment.full_name: deployment for deployment in found}


def test_every_release_command_is_a_deployment() -> None:
    names = registered().keys()
    assert {"publish/mien", "promote/mien", "rollback/mien", "candidate/mien", "withdraw/mien", "prune/mien"} <= names
    assert {"retrain/mien", "retrain/speech", "search/mien", "search-trials/mien"} <= names


def test_only_what_there_is_gets_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_TRAFFIC_URLS", raising=False)
    assert not {"watch-dataset/mien", "watch-drift/mien"} & registered().keys()
    monkeypatch.setenv("MIEN_TRAFFIC_URLS", "http://127.0.0.1:8080/metrics")
    names = registered(retrain_data=Path("/faces")).keys()
    assert {"watch-dataset/mien", "watch-drift/mien"} <= names
    assert "collect-feedback/mien" in registered(), "what was erased leaves the datasets whatever the settings are"
    assert not {"watch-dataset/speech", "collect-feedback/speech"} & names


@pytest.mark.parametrize(
    ("name", "ensemble", "settings"),
    [
        ("mien", "emotion", {"retrain_data": Path("/faces")}),
        ("speech", "speech_emotion", {"retrain_speech_data": Path("/voices")}),
    ],
)
def test_what_happens_to_an_ensemble_retrains_it_alone(name: str, ensemble: str, settings: dict[str, object]) -> None:
    found = registered(**settings)
    assert started_by(found[f"retrain/{name}"]) == {
        "mien.dataset.changed": f"mien.dataset.{ensemble}",
        "mien.feedback.ready": f"mien.feedback.{ensemble}",
        "mien.drift.detected": f"mien.release.{ensemble}",
    }
    for watcher in ("watch-dataset", "collect-feedback"):
        (data,) = settings.values()
        assert found[f"{watcher}/{name}"].parameters == {"data": str(data), "ensemble": ensemble}
    (other,) = {"mien", "speech"} - {name}
    assert "mien.drift.detected" not in started_by(found[f"retrain/{other}"]), "there is nothing to retrain it with"


def started_by(deployment: RunnerDeployment) -> dict[str, str]:
    """Which events start its runs, and what they are of."""
    return {
        event: trigger.match["prefect.resource.id"][0]
        for trigger in deployment.triggers
        if isinstance(trigger, DeploymentEventTrigger)
        for event in trigger.expect
    }


def test_entrypoints_are_modules_so_that_no_folder_shadows_a_package() -> None:
    assert {deployment.entrypoint.partition(".")[0] for deployment in registered().values()} == {"flows"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"retrain_schedule": "sometimes", "retrain_data": Path("/faces")}, "'sometimes', which is no cron line"),
        ({"retrain_schedule": "0 3 * * 0"}, "MIEN_RETRAIN_DATA is not"),
        ({"retrain_speech_schedule": "0 3 * * 0", "retrain_data": Path("/faces")}, "MIEN_RETRAIN_SPEECH_DATA is not"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        registered(**settings)


def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_PREFECT_PORT", "many")
    with pytest.raises(SettingsError, match="MIEN_PREFECT_PORT is 'many'"):
        read_flow_settings()
