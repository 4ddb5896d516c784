"""The command line before any load: usage errors, and servers that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.cli import main, make_plan, parse_users
from loadtest.errors import LoadTestError
from mien.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def test_users_are_parsed() -> None:
    assert parse_users("grpc=4, rest=1,speech=2") == {"grpc": 4, "rest": 1, "speech": 2}


@pytest.mark.parametrize("text", ["", "grpc", "grpc=0", "grpc=-1", "http=4", "grpc=1,grpc=2", "grpc=1,"])
def test_users_that_make_no_sense_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="--users is"):
        parse_users(text)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(LoadTestError, match="holds no picture"):
        make_plan("pipeline=1", tmp_path)


def test_pictures_in_folders_of_the_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "party").mkdir()
    (tmp_path / "party/one.JPG").touch()
    assert make_plan("rest=1", tmp_path).pictures == ((tmp_path / "party/one.JPG").resolve(),)


def test_a_wrong_command_line_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--users", "http=1", "--out", str(tmp_path)]) == 2
    assert "--users is 'http=1'" in capsys.readouterr().err


def test_no_triton_ends_with_a_sentence_and_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--server", "127.0.0.1:9", "--out", str(tmp_path)]) == 5
    assert "No Triton server answers at 127.0.0.1:9" in capsys.readouterr().err


def test_no_gateway_ends_with_a_sentence_and_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", "--users", "rest=1", "--gateway", "http://127.0.0.1:9/", "--out", str(tmp_path)])
    assert code == 5
    assert "No gateway is ready at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["run", "--out", str(tmp_path / "file/report")]) == 2
    assert "which cannot be made" in capsys.readouterr().err
