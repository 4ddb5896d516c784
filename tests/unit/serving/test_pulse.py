"""When a server that does not answer everybody is taken for dead; the server here is a fake, to be silent in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mien.contract import EMOTION, SPEECH_EMOTION
from serving.errors import ControlError
from serving.pulse import Pulse

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec
    from serving.control import ServerControl


class FakeControl:
    """Refuses every health inference of speech; `answered` counts what callers of each ensemble were answered."""

    def __init__(self) -> None:
        self.answered = {EMOTION.name: 0, SPEECH_EMOTION.name: 0}

    def infer_zeros(self, model: EnsembleSpec, timeout_s: float) -> int:
        if model is SPEECH_EMOTION:
            raise ControlError("no answer came in time")
        return 1

    def successes(self, model: str) -> int:
        return self.answered[model]


def test_what_faces_are_answered_does_not_hide_that_speech_is_dead() -> None:
    control = FakeControl()
    pulse = Pulse(cast("ServerControl", control), [EMOTION, SPEECH_EMOTION])
    control.answered[EMOTION.name] += 100
    assert "no answer came in time" in pulse.trouble()
    control.answered[SPEECH_EMOTION.name] += 1
    assert not pulse.trouble(), "a busy ensemble that answers others is alive"
    assert pulse.trouble()
