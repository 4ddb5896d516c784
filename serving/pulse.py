"""Whether a server answers, found out by a real inference: ready flags stay true when nothing answers any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.contract import EnsembleSpec
    from serving.control import ServerControl


class Pulse:
    """Takes the pulse of one server.

    A failed inference alone proves nothing on a busy server: it counts if no other caller of the same ensemble was
    answered either. What another ensemble answers says nothing of this one.

    Args:
        control: calls to the server.
        ensembles: what it serves.
        timeout_s: how long an answer may take.
    """

    def __init__(self, control: ServerControl, ensembles: Sequence[EnsembleSpec], timeout_s: float = 5.0) -> None:
        self._control = control
        self._ensembles = ensembles
        self._timeout_s = timeout_s
        self._answered = dict.fromkeys((ensemble.name for ensemble in ensembles), 0)

    def trouble(self) -> str:
        """Why the server must be taken for dead; empty while each ensemble answers anybody."""
        for ensemble in self._ensembles:
            try:
                self._control.infer_zeros(ensemble, timeout_s=self._timeout_s)
            except ControlError as error:
                before, answered = self._answered[ensemble.name], self._successes(ensemble)
                self._answered[ensemble.name] = answered
                if answered <= before:
                    return str(error)
        return ""

    def answered(self) -> int:
        """How many requests it has answered since its start; 0 if it does not even tell that."""
        return sum(self._successes(ensemble) for ensemble in self._ensembles)

    def _successes(self, ensemble: EnsembleSpec) -> int:
        try:
            return self._control.successes(ensemble.name)
        except ControlError:
            return 0
