"""The commands for releases, without a server: what is there, and that version control's folder is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows import release
from tests.conftest import server_settings
from tests.releases import export_variant

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "state"))

    def call(*arguments: str, status: int = 0) -> str:
        try:
            ended = release.main(arguments)
        except SystemExit as exit_:
            ended = int(exit_.code or 0)
        output = capsys.readouterr()
        assert ended == status, output
        return output.out + output.err

    return call


def test_an_export_is_published_into_the_working_copy_only(run: Callable[..., str], tmp_path: Path) -> None:
    export = export_variant(server_settings(tmp_path), tmp_path / "export", favour=0)
    assert "Published as release 2" in run("publish", str(export))
    assert "These files are release 2 already." in run("publish", str(export))
    assert not (SHIPPED / "emotion/2").exists()
    assert not (SHIPPED / ".releases").exists()
    listed = run("list").splitlines()
    assert listed[1].split()[:2] == ["1", "serving"]
    assert any(line.startswith("2 ") for line in listed)
    assert "release 2:" in run("verify")
    assert "Nothing to remove." in run("prune", "--keep", "2")


@pytest.mark.parametrize("command", [("promote", "1"), ("rollback",), ("candidate", "1"), ("withdraw",)])
def test_without_a_server_nothing_can_be_served(run: Callable[..., str], command: tuple[str, ...]) -> None:
    assert "No server runs on the state folder" in run(*command, status=7)


def test_what_is_no_export_is_named(run: Callable[..., str], tmp_path: Path) -> None:
    assert f"{tmp_path} holds no releases of emotion" in run("publish", str(tmp_path), status=6)
