"""The command for searches with workers: what it says before anything begins, and where a search is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import search
from flows.retraining import search_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_dataset_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main([str(tmp_path / "none.zip")]) == 7
    assert f"There is no {tmp_path}/none.zip. Give FER-2013" in capsys.readouterr().err


def test_the_same_options_name_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    options = {"data": tmp_path / "faces.zip", "config": "quick", "space": "recipe", "epochs": 3}
    folder = search_pipeline._folder(options)
    assert folder == search_pipeline._folder(dict(options))
    assert folder.name.startswith("quick-recipe-")
    assert folder != search_pipeline._folder({**options, "epochs": 4})


def test_workers_that_get_nowhere_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/1.log").write_text("Reading faces\nError: The disk is full.\n")
    assert "1.log: Error: The disk is full." in search_pipeline._no_progress(tmp_path)
    assert "Their runs in Prefect say why" in search_pipeline._no_progress(tmp_path / "elsewhere")
