"""Command lines that errors and answers advise, and what they call a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.contract import EMOTION

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec


def release_command(arguments: str, ensemble: EnsembleSpec) -> str:
    """The command line of `flows.release` with these arguments; an ensemble that is its default is not named."""
    flag = "" if ensemble.name == EMOTION.name else f" --ensemble {ensemble.name}"
    return f"python -m flows.release {arguments}{flag}"


def release_name(number: int, ensemble: EnsembleSpec) -> str:
    """What begins a sentence about a release; an ensemble that is the commands' default is not named."""
    return f"Release {number}" if ensemble.name == EMOTION.name else f"Release {number} of {ensemble.name}"
