"""The commands for the store, without a server: from one host's repository to another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flows import release
from flows.releases.store_commands import CHANGED
from tests.conftest import server_settings
from tests.releases import export_variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command on a host of its own; by default on `here`."""
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("MIEN_RELEASE_STORE", (tmp_path / "store").as_uri())

    def call(*arguments: str, host: str = "here", status: int = 0) -> str:
        monkeypatch.setenv("MIEN_STATE", str(tmp_path / host))
        try:
            ended = release.main(arguments)
        except SystemExit as exit_:
            ended = int(exit_.code or 0)
        output = capsys.readouterr()
        assert ended == status, output
        return output.out + output.err

    return call


def test_what_one_host_pushes_the_other_has_after_a_sync(run: Callable[..., str], tmp_path: Path) -> None:
    export = export_variant(server_settings(tmp_path), tmp_path / "export", favour=0)
    assert "has no current release of emotion. Say which: `python -m flows.release push N --current`" in run(
        "sync", status=6
    )
    run("publish", str(export))
    assert "Release 2 is in" in run("push", "2")
    assert "Release 2 is current, none was before." in run("push", "2", "--current")
    assert "Release 2 is current already." in run("push", "2", "--current")
    rows = run("list", "--store").splitlines()
    assert rows[1].split()[:2] == ["2", "current"]

    run("sync", "--detailed-exit-code", host="there", status=CHANGED)
    assert "nothing to do" in run("sync", "--detailed-exit-code", host="there")
    assert "Release 2 was here already." in run("pull", host="there")
    assert "release 2:" in run("verify", "2", host="there")

    served = tmp_path / "served"
    run("sync", "--into", str(served), "--detailed-exit-code", host="pod", status=CHANGED)
    run("sync", "--into", str(served), "--detailed-exit-code", host="pod")
    assert {path.name for path in served.iterdir()} == {"emotion", "emotion_classifier", "emotion_preprocess"}
    assert not (tmp_path / "pod").exists()


def test_a_model_that_a_repository_does_not_know_yet_comes_with_its_configuration(
    run: Callable[..., str], tmp_path: Path
) -> None:
    export = export_variant(server_settings(tmp_path), tmp_path / "export", favour=0)
    run("publish", str(export))
    run("push", "2")
    run("list", host="there")
    model = tmp_path / "there/model_repository/emotion_classifier_savedmodel"
    for path in sorted(model.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    model.rmdir()
    run("pull", "2", host="there")
    assert "versions: 2" in (model / "config.pbtxt").read_text()


def test_another_release_of_that_number_is_pushed_under_another(run: Callable[..., str], tmp_path: Path) -> None:
    for host, favour in (("here", 0), ("there", 1)):
        run(
            "publish",
            str(export_variant(server_settings(tmp_path), tmp_path / f"{host}.export", favour=favour)),
            host=host,
        )
    run("push", "2")
    assert "--as 3" in run("push", "2", host="there", status=6)
    assert "Release 3 is in" in run("push", "2", "--as", "3", host="there")
    assert "Release 3 is here." in run("pull", "3")


@pytest.mark.parametrize("command", [("push", "1"), ("pull",), ("sync",), ("list", "--store")])
def test_without_a_store_the_variable_is_named(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("MIEN_RELEASE_STORE")
    assert "Set MIEN_RELEASE_STORE" in run(*command, status=6)


def test_promoting_needs_a_server(run: Callable[..., str], tmp_path: Path) -> None:
    run("push", "1", "--current")
    assert "--promote cannot go with it" in run("sync", "--promote", "--into", str(tmp_path / "served"), status=7)
    assert "nothing to do" in run("sync", "--promote", host="there")
    run("publish", str(export_variant(server_settings(tmp_path), tmp_path / "export", favour=0)))
    run("push", "2", "--current")
    assert "No server runs on the state folder" in run("sync", "--promote", host="there", status=7)
