"""The processes that stand beside the server: each is started, watched, started again when it ends, and stopped."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.kept_process import KeptProcess

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Companion:
    """A process that serves beside Triton.

    Attributes:
        name: what a person calls it.
        command: program and arguments.
        environment: its whole environment.
        log: gets its output; the one of the run before is kept beside it.
        exit_timeout_s: how long it may take to end.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    log: Path
    exit_timeout_s: float = 10.0

    def start(self) -> KeptProcess:
        """Start it; it ends at the latest with this process."""
        return KeptProcess(
            {
                "command": list(self.command),
                "environment": self.environment,
                "log": str(self.log),
                "exit_timeout_s": self.exit_timeout_s,
                "shared_memory_prefix": f"mien-companion-{self.name}-",
                "cleanup": [],
            }
        )


def run(companions: Sequence[Companion], stop: threading.Event) -> None:
    """Keep every companion running until `stop` is set, then end them, the last one first.

    One that ends by itself is started again, after a wait that doubles while it keeps ending.
    """
    watched = [_Watched(companion) for companion in companions]
    try:
        while not stop.wait(_LOOK_S):
            for one in watched:
                one.look()
    finally:
        for one in reversed(watched):
            one.process.stop()


class _Watched:
    """One companion that runs, or waits to be started again."""

    def __init__(self, companion: Companion) -> None:
        self._companion = companion
        self._wait_s = _LOOK_S
        self._started = time.monotonic()
        self._ended: float | None = None
        self.process = companion.start()

    def look(self) -> None:
        """Start it again if it has ended and waited long enough."""
        now = time.monotonic()
        if self.process.is_alive:
            return
        if self._ended is None:
            self._ended = now
            # After a while of good service an end is a first one again.
            self._wait_s = _LOOK_S if now - self._started > _LONGEST_WAIT_S else min(2 * self._wait_s, _LONGEST_WAIT_S)
            logger.warning(
                "%s ended and is started again in %g s; its log is %s.1 then",
                self._companion.name,
                self._wait_s,
                self._companion.log,
            )
        elif now - self._ended >= self._wait_s:
            self.process.stop()
            self._ended, self._started = None, now
            self.process = self._companion.start()
