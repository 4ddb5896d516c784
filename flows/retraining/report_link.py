"""The link from a run in Prefect to its report, which is a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact

if TYPE_CHECKING:
    from pathlib import Path


def link_report(page: Path, key: str) -> None:
    """Put the report at `page` among the run's artifacts, by its path: browsers follow no link from http to a file."""
    create_link_artifact(
        page.as_uri(),
        key=key,
        link_text=str(page),
        description="The whole report, on the machine that made it: copy the address into a browser there.",
    )
