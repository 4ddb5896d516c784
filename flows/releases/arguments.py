"""What the commands for releases take alike."""

from __future__ import annotations

from typing import Annotated

import typer

from mien.contract import EMOTION, ENSEMBLES

Ensemble = Annotated[
    str,
    typer.Option("--ensemble", metavar="NAME", help=f"Whose releases: {', '.join(one.name for one in ENSEMBLES)}."),
]
"""The name of an ensemble; by default `DEFAULT_ENSEMBLE`."""

DEFAULT_ENSEMBLE = EMOTION.name

Number = Annotated[int, typer.Argument(min=1, metavar="N", help="The release's number.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
