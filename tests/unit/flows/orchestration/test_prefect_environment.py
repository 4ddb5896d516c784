"""What Prefect finds in the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from flows.orchestration import prefect_environment
from flows.settings import FlowSettings
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment of the test's own, without anything of Prefect's."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    monkeypatch.setattr(os, "environ", ours)
    return ours


def test_the_login_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    settings = read_settings(state=tmp_path / "state")
    first, second = (prefect_environment.variables(settings)["PREFECT_API_AUTH_STRING"] for _ in range(2))
    assert first == second
    assert first.startswith("mien:")
    assert len(first) > len("mien:") + 24
    assert prefect_environment.login_path(settings).stat().st_mode & 0o077 == 0
    assert prefect_environment.variables(read_settings(state=tmp_path / "other"))["PREFECT_API_AUTH_STRING"] != first


def test_another_server_does_not_get_the_local_ones_login(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["PREFECT_API_URL"] = "http://prefect.example/api"
    prefect_environment.prepare(read_settings(state=tmp_path / "state"), FlowSettings())
    assert "PREFECT_API_AUTH_STRING" not in environment
    assert environment["PREFECT_API_URL"] == "http://prefect.example/api"


def test_what_the_environment_says_stays(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["PREFECT_HOME"] = "/elsewhere"
    prefect_environment.prepare(read_settings(state=tmp_path / "state"), FlowSettings(prefect_port=9))
    assert environment["PREFECT_HOME"] == "/elsewhere"
    assert "PREFECT_API_URL" not in environment  # none answers
    assert environment["KERAS_BACKEND"] == "tensorflow"
