"""How this package's commands end: an expected error is a sentence and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mien.errors import MienError
from mien.output import escape_what_cannot_be_encoded

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Run a command line; returns the exit status of what ended it."""
    escape_what_cannot_be_encoded()
    try:
        app(arguments)
    except MienError as error:
        typer.echo(f"Error: {error}", err=True)
        return error.exit_code
    return 0
