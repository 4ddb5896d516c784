"""Whether a server answers, found out by a real inference: ready flags stay true when nothing answers any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.contract import ENSEMBLES
from serving.errors import ControlError

if TYPE_CHECKING:
    from serving.control import ServerControl


class Pulse:
    """Takes the pulse of one server.

    A failed inference alone proves nothing on a busy server: it counts if nobody else was answered either.

    Args:
        control: calls to the server.
        timeout_s: how long an answer may take.
    """

    def __init__(self, control: ServerControl, timeout_s: float = 5.0) -> None:
        self._control = control
        self._timeout_s = timeout_s
        self._answered = 0

    def trouble(self) -> str:
        """Why the server must be taken for dead; empty while it answers anybody."""
        try:
            for ensemble in ENSEMBLES:
                self._control.infer_zeros(ensemble, timeout_s=self._timeout_s)
        except ControlError as error:
            before, self._answered = self._answered, self.answered()
            return "" if self._answered > before else str(error)
        return ""

    def answered(self) -> int:
        """How many requests it has answered since its start; 0 if it does not even tell that."""
        try:
            return sum(self._control.successes(ensemble.name) for ensemble in ENSEMBLES)
        except ControlError:
            return 0
