"""Command lines that errors and answers advise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.contract import EMOTION

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec


def release_command(arguments: str, ensemble: EnsembleSpec) -> str:
    """The command line of `flows.release` with these arguments; an ensemble that is its default is not named."""
    flag = "" if ensemble.name == EMOTION.name else f" --ensemble {ensemble.name}"
    return f"python -m flows.release {arguments}{flag}"
