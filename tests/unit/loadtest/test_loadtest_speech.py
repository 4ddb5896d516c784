"""What speech users of a load test send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtest.cli import make_plan
from loadtest.errors import LoadTestError
from loadtest.speech import cut_windows
from tests.unit.mien.sounds import RATE, tone, written

if TYPE_CHECKING:
    from pathlib import Path


def test_windows_are_cut_from_the_recordings_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    voice = np.concatenate([tone(4.5), np.zeros(6 * RATE, np.float32)])
    first = written(tmp_path / "calls/one.FLAC", voice, format="FLAC")
    second = written(tmp_path / "two.wav", tone(2))
    plan = make_plan("speech=1", None, tmp_path)
    assert plan.recordings == (first.resolve(), second.resolve())
    windows = cut_windows(plan.recordings, 16)
    assert windows.shape == (4, 3 * RATE), "two and a half of the first make a sound, and the second"
    assert np.abs(windows).max(axis=1) == pytest.approx(0.3, abs=0.01)
    assert len(cut_windows(plan.recordings, 2)) == 2


def test_a_folder_without_speech_is_refused(tmp_path: Path) -> None:
    assert make_plan("speech=1", None).recordings == ()
    with pytest.raises(LoadTestError, match="holds no recording"):
        make_plan("speech=1", None, tmp_path)
    silent = written(tmp_path / "silent.wav", np.zeros(3 * RATE, np.float32))
    with pytest.raises(LoadTestError, match="are silent"):
        cut_windows([silent], 16)
