from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.serving.conftest import MakeRepository


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    monkeypatch.delenv("MIEN_MODEL_REPOSITORY", raising=False)
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_bad_setting_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MIEN_GRPC_PORT", "many")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("MIEN_GRPC_PORT is 'many'")


def test_missing_environment_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MIEN_ENGINE", "wheel")
    monkeypatch.setenv("MIEN_TRITON_ENVIRONMENT", str(tmp_path / "none"))
    assert main([]) == 6
    assert "MIEN_ENGINE=docker" in capsys.readouterr().err


def test_control_without_a_server_names_the_state_folder(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    assert main(["load", "emotion"]) == 6
    assert f"No server runs on the state folder {state}" in capsys.readouterr().err


def test_verify_tells_release_and_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make_repository: MakeRepository
) -> None:
    folder = make_repository("repository")
    monkeypatch.setenv("MIEN_MODEL_REPOSITORY", str(folder))
    monkeypatch.setenv("MIEN_ENSEMBLES", "emotion")
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == f"emotion release 1: 2 files match, in {folder}\n"
    (folder / "emotion_classifier" / "1" / "model.onnx").write_bytes(b"damaged")
    assert main(["verify"]) == 6
    assert "is damaged" in capsys.readouterr().err


def test_help_names_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "MIEN_STATE" in capsys.readouterr().out
