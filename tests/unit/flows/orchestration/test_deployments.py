"""What is registered with Prefect, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.orchestration.deployments import deployments
from flows.settings import FlowSettings, read_flow_settings
from mien.errors import SettingsError


def registered(**settings: object) -> dict[str, object]:
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
    assert {"watch-dataset/mien", "watch-drift/mien"} <= registered(retrain_data=Path("/faces")).keys()


def test_entrypoints_are_modules_so_that_no_folder_shadows_a_package() -> None:
    assert {deployment.entrypoint.partition(".")[0] for deployment in registered().values()} == {"flows"}  # type: ignore[attr-defined]


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
