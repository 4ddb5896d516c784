from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mien.errors import SettingsError
from mien.gateway.command import main
from mien.gateway.keys import KeyFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.json"


def test_a_key_is_found_and_only_its_hash_is_kept(path: Path) -> None:
    key = KeyFile(path).add("batch")
    found = KeyFile(path).find(key)
    assert found is not None
    assert found.name == "batch"
    assert key not in path.read_text()
    assert key.rpartition("_")[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", [lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), lambda _: "", str.upper])
def test_a_wrong_key_is_not_found(path: Path, change: object) -> None:
    file = KeyFile(path)
    assert callable(change)
    assert file.find(change(file.add("batch"))) is None


def test_changes_count_at_once(path: Path) -> None:
    served = KeyFile(path)
    assert served.find("mien_00000000_" + "a" * 43) is None
    first = KeyFile(path).add("first")
    assert served.find(first)
    second = KeyFile(path).add("second")
    KeyFile(path).remove("first")
    assert served.find(first) is None
    assert served.find(second)
    path.unlink()
    assert served.find(second) is None


def test_a_file_damaged_by_hand_takes_no_key_away(path: Path) -> None:
    served = KeyFile(path)
    key = served.add("batch")
    assert served.find(key)
    path.write_text(path.read_text()[:-10])
    assert served.find(key)
    with pytest.raises(SettingsError, match="not a file of API keys"):
        KeyFile(path).add("another")


def test_writers_at_once_lose_nothing(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda number: KeyFile(path).add(f"n{number}"), range(12)))
    assert all(map(KeyFile(path).find, keys))


def test_the_command_adds_lists_and_removes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_GATEWAY_KEYS_FILE", str(path))
    assert main(["keys", "add", "phone"]) == 0
    key = capsys.readouterr().out.strip()
    assert KeyFile(path).find(key)
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "phone" in listed
    assert key not in listed
    assert main(["keys", "remove", "phone"]) == 0
    assert main(["keys", "remove", "phone"]) == 2
    assert "no key 'phone'" in capsys.readouterr().err
