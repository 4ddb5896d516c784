"""The command line, run in the process of the tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mien import cli

if TYPE_CHECKING:
    import pytest


class Mien:
    """Runs the command line in this process: what a user types, and what they see."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        try:
            code = cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err
