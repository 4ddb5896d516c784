"""Keeps a server answering: looks at its processes and its answers, and heals what it can.

A killed stub of a Python-based backend is never replaced by Triton itself, and all its ready flags stay true. So health
is a real inference, and besides that every instance's process is looked at: with several instances a health inference
can miss the dead one.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from serving.errors import ControlError, ServerStartError, ServingError
from serving.pulse import Pulse
from serving.stubs import Stub, living_stubs

if TYPE_CHECKING:
    import threading

    from serving.control import ServerControl
    from serving.server import TritonServer

logger = logging.getLogger(__name__)

_MAX_RESTARTS = 5
_BACK_OFF_S = 0.5
_STABLE_S = 60.0
_FAILED_LOOKS = 2
_LEAVE_S = 10.0
"""For what replaced instances still answer; they end by themselves unless one that was killed holds a request."""


class Watcher:
    """Watches one started server until it is told to stop.

    Args:
        server: a server that is ready; its settings say how often to look.
    """

    def __init__(self, server: TritonServer) -> None:
        self._server = server
        self._healthy_stubs: frozenset[Stub] = frozenset()
        self._replaced: dict[Stub, float] = {}  # with the time until which each may still live
        self._looks_without_stub = 0
        self._failed_looks = 0
        self._failed_inferences = 0
        self._next_inference = 0.0
        self._restarts = 0
        self._last_restart = 0.0

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set.

        Raises:
            ServerStartError: the server failed again and again; it is left stopped.
        """
        with self._server.control() as control:
            pulse = Pulse(control, self._server.settings.ensembles)
            while not stop.wait(self._server.settings.watch_interval_s):
                if trouble := self._look(control, pulse):
                    self._restart(trouble, stop)

    def _look(self, control: ServerControl, pulse: Pulse) -> str:
        """Look once and heal single models; returns why a restart is needed, if it is."""
        if not self._server.is_alive:
            return "its process ended"
        if self._server.runs_stubs and (trouble := self._look_at_stubs(control)):
            return trouble
        if time.monotonic() >= self._next_inference:
            self._next_inference = time.monotonic() + self._server.settings.health_interval_s
            return self._look_at_answers(pulse)
        return ""

    def _look_at_stubs(self, control: ServerControl) -> str:
        stubs = self._without_replaced(living_stubs(self._server.process_id))
        if stubs == self._healthy_stubs:
            return ""
        try:
            short = _models_short_of_stubs(control, stubs)
        except ControlError as error:
            self._failed_looks += 1
            return str(error) if self._failed_looks >= _FAILED_LOOKS else ""
        self._failed_looks = 0
        if not short:
            self._healthy_stubs, self._looks_without_stub = stubs, 0
            return ""
        # A model that is being loaded or unloaded may be short of a stub for a moment; a dead one still is next time.
        self._looks_without_stub += 1
        if self._looks_without_stub < _FAILED_LOOKS:
            return ""
        self._looks_without_stub = 0
        return self._heal(control, short)

    def _without_replaced(self, living: list[Stub]) -> frozenset[Stub]:
        """The stubs that count; those that a heal has replaced do not, and are ended when their time is over."""
        self._replaced = {stub: end for stub, end in self._replaced.items() if stub in living}
        for stub, end in self._replaced.items():
            if time.monotonic() > end:
                with suppress(ProcessLookupError):
                    os.kill(stub.process_id, signal.SIGKILL)
        return frozenset(living) - self._replaced.keys()

    def _heal(self, control: ServerControl, short: list[tuple[str, str]]) -> str:
        """Load the models anew whose stubs are dead. Triton loads what has changed: their files are touched first."""
        left = [stub for stub in living_stubs(self._server.process_id) if (stub.model, stub.version) in short]
        try:
            for model, version in short:
                logger.warning("stub died, loading its model again: model=%s version=%s", model, version)
                for path in (self._server.settings.model_repository / model / version).rglob("*"):
                    os.utime(path)
                control.load(model)
            self._replaced |= dict.fromkeys(left, time.monotonic() + _LEAVE_S)
            for ensemble in self._server.settings.ensembles:
                control.infer_zeros(ensemble)
        except ControlError as error:
            return "" if self._another_died(control, short) else str(error)
        logger.info(
            "models answer again: %s", ", ".join(f"model={model} version={version}" for model, version in short)
        )
        return ""

    def _another_died(self, control: ServerControl, healed: list[tuple[str, str]]) -> bool:
        """Whether another model has lost a stub meanwhile: the next look heals that one, and nothing else is wrong."""
        try:
            short = _models_short_of_stubs(control, self._without_replaced(living_stubs(self._server.process_id)))
        except ControlError:
            return False
        return bool(set(short) - set(healed))

    def _look_at_answers(self, pulse: Pulse) -> str:
        trouble = pulse.trouble()
        if not trouble:
            self._failed_inferences = 0
            return ""
        self._failed_inferences += 1
        logger.warning("health inference failed: in_a_row=%d error=%s", self._failed_inferences, trouble)
        if self._failed_inferences < _FAILED_LOOKS:
            return ""
        self._failed_inferences = 0
        return trouble

    def _restart(self, reason: str, stop: threading.Event) -> None:
        """Restart, waiting longer each time; a while of good service forgets what was before."""
        if time.monotonic() - self._last_restart > _STABLE_S:
            self._restarts = 0
        while not stop.is_set():
            if self._restarts >= _MAX_RESTARTS:
                self._server.stop()
                raise ServerStartError(
                    f"The server failed {self._restarts} times in a row and is left stopped. Last: {reason}\n"
                    f"{self._server.log_tail()}"
                )
            logger.warning("restarting the server: attempt=%d reason=%s", self._restarts + 1, reason)
            if stop.wait(_BACK_OFF_S * 2**self._restarts if self._restarts else 0):
                return
            self._restarts += 1
            self._last_restart = time.monotonic()
            try:
                self._server.restart()
            except ServingError as error:
                reason = str(error)
            else:
                logger.info("server answers again: endpoint=%s", self._server.endpoint)
                return


def _models_short_of_stubs(control: ServerControl, stubs: frozenset[Stub]) -> list[tuple[str, str]]:
    """Model versions that are said to be ready and have fewer living stubs than instances."""
    ready = [(state.name, state.version) for state in control.models() if state.ready]
    living = [(stub.model, stub.version) for stub in stubs]
    wanted = {name: control.instances(name) for name in {name for name, _ in ready}}
    return [version for version in ready if living.count(version) < wanted[version[0]]]
