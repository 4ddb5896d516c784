from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mien.errors import SettingsError
from mien.gateway.spool import spool

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_killed_gateway_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    left = tmp_path / "gateway-killed"  # its lock went with its process
    left.mkdir()
    (left / "lock").touch()
    (left / "video").touch()
    with spool(tmp_path) as first:
        (first / "video").touch()
        with spool(tmp_path) as second:
            assert set(tmp_path.iterdir()) == {first, second}
        assert (first / "video").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="MIEN_GATEWAY_SPOOL"), spool(tmp_path / "file"):
        pass
