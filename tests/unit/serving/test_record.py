from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from serving.record import ServerRecord, read_record, remove_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ServerRecord(
    token="mien-0123456789ab", endpoint="127.0.0.1:1", metrics_url="http://127.0.0.1:2/metrics", admin_key="sesame"
)


def test_record_comes_back_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    write_record(path, RECORD)
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert path.stat().st_mode & 0o777 == 0o600
    remove_record(path)
    assert read_record(path) is None


@pytest.mark.parametrize("text", ["", "{}", "no json"])
def test_damaged_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert read_record(tmp_path / "server.json") is None


@pytest.mark.parametrize("token", ["", "mien-", "python"])
def test_token_that_might_match_other_processes_is_refused(token: str) -> None:
    with pytest.raises(ValidationError):
        ServerRecord(token=token, endpoint="", metrics_url="", admin_key="")


def test_a_clock_that_was_set_back_is_told_from_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(RECORD.set_back_s) < 1
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert RECORD.set_back_s == pytest.approx(3600, abs=1)
