from __future__ import annotations

import math

import numpy as np
import pytest

from mien import SettingsError, TensorError, samples
from mien.samples import Resampler, mono
from tests.unit.mien.sounds import tone


@pytest.mark.parametrize(
    ("kind", "scale"), [(np.int16, 2**15), (np.int32, 2**31), (np.float32, 1), (np.float64, 1), (">i2", 2**15)]
)
def test_every_kind_of_sample_comes_out_the_same(kind: str, scale: int) -> None:
    given = np.array([0.5, -0.25, 0, -1]) * scale
    np.testing.assert_array_equal(mono(given.astype(kind)), [0.5, -0.25, 0, -1])
    assert mono(given.astype(kind)).dtype == np.float32


def test_channels_are_averaged() -> None:
    left, right = tone(1), tone(1, hertz=300)
    np.testing.assert_allclose(mono(np.stack([left, right], 1)), (left + right) / 2, atol=1e-7)


def test_samples_are_not_changed_and_those_a_little_over_1_are_clipped() -> None:
    given = np.array([1.2, -1.5, 0.3], np.float32)
    np.testing.assert_allclose(mono(given), [1, -1, 0.3])
    assert given[0] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0.0, 1.0], "not 'list'"),
        (np.zeros(9, np.uint8), "not uint8"),
        (np.zeros(9, complex), "not complex128"),
        (np.zeros((2, 48000), np.float32), "must be transposed"),
        (np.zeros((2, 2, 2), np.float32), r"\(2, 2, 2\)"),
        (np.float32(0.0), "not 'float32'"),
        (np.array([0, np.nan], np.float32), "not finite"),
        (np.array([0, np.inf]), "not finite"),
        (np.array([0, 20000.0]), "largest is 20000"),
    ],
)
def test_what_are_no_samples_is_told(given: object, said: str) -> None:
    with pytest.raises(TensorError, match=said):
        mono(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, -16000, 7999, 192_001, 16_000.5, math.nan, math.inf])
def test_a_rate_out_of_bounds_is_told(rate: float) -> None:
    with pytest.raises(TensorError, match=r"8,000 to 192,000 Hz"):
        Resampler(rate)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
def test_a_tone_stays_that_tone_at_another_rate(rate: int) -> None:
    sound = Resampler(rate).add(tone(2, rate), is_last=True)
    np.testing.assert_allclose(sound[1000:-1000], tone(2)[1000:-1000], atol=2e-3)
    assert len(sound) == 32_000


def test_pieces_are_as_if_given_at_once() -> None:
    given = tone(2, 44_100)
    resampler = Resampler(44_100)
    pieces = [resampler.add(given[start : start + 5000]) for start in range(0, len(given), 5000)]
    pieces.append(resampler.add(np.zeros(0, np.float32), is_last=True))
    np.testing.assert_allclose(np.concatenate(pieces), Resampler(44_100).add(given, is_last=True), atol=1e-6)


def test_without_the_extra_16_khz_works_and_others_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "soxr", None)
    np.testing.assert_array_equal(Resampler(16_000).add(tone(1)), tone(1))
    with pytest.raises(SettingsError, match=r"44,100 Hz .*mien\[audio\]"):
        Resampler(44_100)
