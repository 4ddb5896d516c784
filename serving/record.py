"""What is known of the server that runs on a state folder: for commands from another terminal, and for clearing up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pathlib import Path


def day_zero_s() -> float:
    """When the monotonic clock was at zero, in seconds since 1970: earlier each time that the clock is set back."""
    return time.time() - time.monotonic()


class ServerRecord(BaseModel):
    """One run of the server.

    Attributes:
        token: the run's own name, in the command line of each of its processes and in its shared memory segments.
        endpoint: where it answers over gRPC.
        metrics_url: where its metrics are.
        admin_key: what a control call must show.
        cleanup: a command that removes what the engine may leave; empty for none.
        day_zero_s: `day_zero_s()` at the run's start.
    """

    model_config = ConfigDict(frozen=True)

    # Processes are killed by it: a damaged record must never name more than one run's.
    token: str = Field(pattern=r"^mien-[0-9a-f]{12}$")
    endpoint: str
    metrics_url: str
    admin_key: str
    cleanup: list[str] = []
    day_zero_s: float = Field(default_factory=day_zero_s)

    @property
    def set_back_s(self) -> float:
        """How far the clock of this machine was set back since the run's start; below zero: set ahead."""
        return self.day_zero_s - day_zero_s()


def write_record(path: Path, record: ServerRecord) -> None:
    """Write it whole or not at all, readable by its owner only."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    beside.replace(path)


def read_record(path: Path) -> ServerRecord | None:
    """The record in `path`; None if there is none or it cannot be read."""
    try:
        return ServerRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def remove_record(path: Path) -> None:
    """Forget the run."""
    path.unlink(missing_ok=True)
