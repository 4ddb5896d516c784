from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import SettingsError
from serving.settings import read_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIEN_STATE", "MIEN_MODEL_REPOSITORY", "MIEN_GRPC_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_working_copy_lives_in_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_STATE", "/srv/mien")
    assert read_settings().model_repository == Path("/srv/mien/model_repository")
    monkeypatch.setenv("MIEN_MODEL_REPOSITORY", "/models")
    assert read_settings().model_repository == Path("/models")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MIEN_GRPC_PORT", "eighty"),
        ("MIEN_METRICS_PORT", "70000"),
        ("MIEN_ENGINE", "podman"),
        ("MIEN_READY_TIMEOUT_S", "0"),
    ],
)
def test_bad_value_names_variable_and_value(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable} is '{value}': ") as caught:
        read_settings()
    assert caught.value.exit_code == 2


def test_state_folder_is_private(tmp_path: Path) -> None:
    settings = read_settings(state=tmp_path / "deep" / "state")
    settings.create_state()
    assert settings.state.stat().st_mode & 0o777 == 0o700


def test_state_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="MIEN_STATE"):
        read_settings(state=tmp_path / "file" / "state").create_state()
