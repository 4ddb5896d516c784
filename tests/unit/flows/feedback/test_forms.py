from __future__ import annotations

import numpy as np
import pytest

from flows.feedback.forms import form_of
from mien.contract import EMOTION, EMOTION_RGB96, SPEECH_EMOTION
from tests.unit.training.faces import picture, png
from tests.unit.training.voices import voice, wav
from training.sources import decode


def test_of_a_face_only_what_is_trained_with_is_kept() -> None:
    given = png(np.dstack([picture(1, 96)] * 3))
    kept = form_of(EMOTION).correction(given)
    np.testing.assert_array_equal(decode(kept)[0], decode(given)[0])
    assert decode(kept)[1] == (48, 48)
    assert form_of(EMOTION_RGB96) is form_of(EMOTION)


def test_speech_is_kept_as_it_is_if_there_is_any() -> None:
    form = form_of(SPEECH_EMOTION)
    spoken = wav(voice(120, 2))
    assert form.correction(spoken) == spoken
    for nothing in (wav(np.zeros(16_000, np.float32)), wav(voice(120, 2, 0.1))):
        with pytest.raises(ValueError, match=r"s of sound; 0\.2 s are needed"):
            form.correction(nothing)


def test_what_is_no_picture_is_an_error() -> None:
    with pytest.raises(OSError, match="identify"):
        form_of(EMOTION).correction(b"no picture")
