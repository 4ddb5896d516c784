"""Changed copies of voices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.contract import AUDIO, SAMPLE_RATE_HZ
from training.dataset import Split
from training.speech_augmentation import SpeechAugmentation

OFF = SpeechAugmentation(copies=1, speed=0.0, microphone_db=0.0, noise_db=(-200.0, -200.0))


@pytest.fixture
def split() -> Split:
    """Two tones of two seconds."""
    time = np.arange(AUDIO.shape[0]) / SAMPLE_RATE_HZ
    tones = np.stack([0.5 * np.sin(2 * np.pi * hz * time) * (time < 2) for hz in (200, 400)]).astype(np.float32)
    return Split(tones, np.array([3, 5]), ("a.wav", "b.wav"), ("03", "08"))


def peak_hz(window: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(window)).argmax()) * SAMPLE_RATE_HZ / len(window)


def test_the_recordings_come_first_and_their_copies_behind_them(split: Split) -> None:
    larger = SpeechAugmentation(copies=2).enlarged(split, 0)

    np.testing.assert_array_equal(larger.examples[:2], split.examples)
    np.testing.assert_array_equal(larger.labels, [3, 5] * 3)
    assert larger.names == split.names * 3
    assert larger.speakers == split.speakers * 3
    assert larger.examples.dtype == np.float32


def test_all_off_changes_nothing(split: Split) -> None:
    np.testing.assert_allclose(OFF.enlarged(split, 0).examples[2:], split.examples, atol=1e-6)


def test_no_copies_are_none(split: Split) -> None:
    np.testing.assert_array_equal(replace(OFF, copies=0).enlarged(split, 0).examples, split.examples)


def test_what_is_said_faster_is_higher_and_shorter(split: Split) -> None:
    for window in replace(OFF, copies=8, speed=0.16).enlarged(split, 0).examples[2:][::2]:
        faster = peak_hz(window) / 200
        seconds = np.flatnonzero(np.abs(window) > 0.01)[-1] / SAMPLE_RATE_HZ

        assert np.exp(-0.16) - 0.01 < faster < np.exp(0.16) + 0.01
        assert seconds * faster == pytest.approx(2, abs=0.02)


def test_noise_is_as_loud_as_asked(split: Split) -> None:
    copy = replace(OFF, noise_db=(-40.0, -40.0)).enlarged(split, 0).examples[2]

    assert 20 * np.log10(copy[-SAMPLE_RATE_HZ // 2 :].std()) == pytest.approx(-40, abs=0.3)


def test_another_microphone_changes_the_balance_of_frequencies(split: Split) -> None:
    copies = replace(OFF, copies=8, microphone_db=6.0).enlarged(split, 0).examples[2:]

    assert np.ptp(20 * np.log10(np.abs(copies).max(axis=1))) > 3


def test_the_same_seed_gives_the_same_copies_and_another_others(split: Split) -> None:
    first, again, other = (SpeechAugmentation().enlarged(split, seed).examples for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
