from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import SettingsError, TensorError
from mien.windows import LENGTH, Window, Windows, of_recording
from tests.unit.mien.sounds import RATE, tone


def times(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start_s, window.end_s) for window in windows]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, [(0, 0.1)]),
        (2.5, [(0, 2.5)]),
        (3, [(0, 3)]),
        (3.5, [(0, 3), (0.5, 3.5)]),
        (4.5, [(0, 3), (1.5, 4.5)]),
        (7, [(0, 3), (1.5, 4.5), (3, 6), (4, 7)]),
    ],
)
def test_windows_overlap_and_the_last_ends_with_the_recording(
    seconds: float, expected: list[tuple[float, float]]
) -> None:
    windows = of_recording(tone(seconds), RATE, 1.5)
    assert times(windows) == expected


def test_zeros_follow_a_short_recording() -> None:
    (window,) = of_recording(tone(1), RATE, 1.5)
    np.testing.assert_array_equal(window.samples[:RATE], tone(1))
    assert not window.samples[RATE:].any()


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=8), st.sampled_from([0.1, 0.7, 1.5, 3.0]))
def test_however_it_comes_the_windows_are_the_same(sizes: list[int], hop_s: float) -> None:
    sound = np.arange(sum(sizes), dtype=np.float32)
    cut = Windows(hop_s)
    windows = [window for piece in np.split(sound, np.cumsum(sizes)[:-1]) for window in cut.add(piece)]
    windows += cut.finish()
    whole = Windows(hop_s)
    at_once = [*whole.add(sound), *whole.finish()]
    assert times(windows) == times(at_once)
    for one, other in zip(windows, at_once, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        first = round(one.start_s * RATE)
        there = sound[first : first + LENGTH]
        np.testing.assert_array_equal(one.samples[: len(there)], there)
    if len(sound) >= RATE // 10:
        assert windows[-1].end_s * RATE == pytest.approx(len(sound))


def test_silence_is_what_no_tenth_of_a_second_is_louder_than() -> None:
    quiet = np.full(2 * RATE, 0.0009, np.float32)
    assert of_recording(quiet, RATE, 1.5)[0].is_silent
    quiet[RATE : RATE + RATE // 10] = 0.01
    assert not of_recording(quiet, RATE, 1.5)[0].is_silent


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_what_is_too_short_is_told(seconds: float) -> None:
    with pytest.raises(TensorError, match=rf"only {seconds:.3f} s of sound; at least 0.1 s"):
        of_recording(tone(seconds), RATE, 1.5)


@pytest.mark.parametrize("hop_s", [0, -1, 0.09, 3.1, float("nan")])
def test_a_hop_out_of_bounds_is_told(hop_s: float) -> None:
    with pytest.raises(SettingsError, match=r"from 0\.1 to 3"):
        Windows(hop_s)
