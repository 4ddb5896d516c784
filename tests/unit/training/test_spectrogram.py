"""Spectra and mel bands against librosa's."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from keras import ops

from mien.contract import SAMPLE_RATE_HZ
from training.descriptors import MEL_BANDS
from training.export.golden import synthetic_speech
from training.spectrogram import BINS, FRAME_LENGTH, HOP_LENGTH, frequencies_hz, mel_filters, power_spectra


def test_the_filters_are_librosas() -> None:
    expected = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=FRAME_LENGTH, n_mels=MEL_BANDS).T

    np.testing.assert_allclose(mel_filters(MEL_BANDS), expected, atol=1e-7)


def test_the_frequencies_are_librosas() -> None:
    np.testing.assert_allclose(frequencies_hz(), librosa.fft_frequencies(sr=SAMPLE_RATE_HZ, n_fft=FRAME_LENGTH))


def test_the_spectra_are_librosas() -> None:
    speech = synthetic_speech(4)
    expected = np.abs(librosa.stft(speech, n_fft=FRAME_LENGTH, hop_length=HOP_LENGTH)) ** 2

    power = ops.convert_to_numpy(power_spectra(speech))

    assert power.shape == (4, 151, BINS)
    np.testing.assert_allclose(power, expected.transpose(0, 2, 1), atol=1e-5 * expected.max())


@pytest.mark.parametrize("seconds", [1, 3])
def test_windows_of_any_length_have_a_frame_every_20_ms(seconds: int) -> None:
    assert power_spectra(np.ones((2, seconds * SAMPLE_RATE_HZ), np.float32)).shape == (2, 50 * seconds + 1, BINS)
