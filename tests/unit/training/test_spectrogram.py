"""Mel bands against librosa's."""

from __future__ import annotations

from pathlib import Path

import keras
import librosa
import numpy as np
import pytest

from mien.contract import AUDIO, LOG_MEL, SAMPLE_RATE_HZ
from training import recordings
from training.export.golden import synthetic_speech
from training.onnx_inference import OnnxModel
from training.preprocessing import log_mel
from training.reading import opened
from training.spectrogram import FFT_LENGTH, HOP_LENGTH, mel_filters

SHIPPED = Path(__file__).parents[3] / "model_repository/speech_preprocess/1/model.onnx"

TOLERANCE_DB = 0.01
"""Quiet bands, down to 80 dB below the loudest, are where float32 sums differ: 0.0004 dB was seen."""


def oracle(samples: np.ndarray) -> np.ndarray:
    energy = librosa.feature.melspectrogram(
        y=samples, sr=SAMPLE_RATE_HZ, n_fft=FFT_LENGTH, hop_length=HOP_LENGTH, n_mels=LOG_MEL.shape[1]
    )
    return np.asarray(librosa.power_to_db(energy, ref=np.max).T)


def test_the_filters_are_librosas() -> None:
    expected = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=FFT_LENGTH, n_mels=64).T

    np.testing.assert_allclose(mel_filters(64), expected, atol=1e-7)


def test_the_layer_gives_librosas_mel_bands() -> None:
    speech = synthetic_speech(4)

    bands = log_mel().predict(speech, verbose=0)

    assert bands.shape == (4, *LOG_MEL.shape)
    np.testing.assert_allclose(bands, [oracle(samples) for samples in speech], atol=TOLERANCE_DB)


def test_loudness_makes_no_difference() -> None:
    speech = synthetic_speech(1)
    model = log_mel()

    np.testing.assert_allclose(model.predict(speech, verbose=0), model.predict(0.1 * speech, verbose=0), atol=0.01)


def test_a_window_of_zeros_gives_numbers() -> None:
    assert np.isfinite(log_mel().predict(np.zeros((1, *AUDIO.shape), np.float32), verbose=0)).all()


def test_the_layer_is_made_again_from_its_configuration() -> None:
    model = log_mel()
    again = keras.Model.from_config(model.get_config())
    speech = synthetic_speech(1)

    np.testing.assert_array_equal(model.predict(speech, verbose=0), again.predict(speech, verbose=0))


@pytest.mark.data
def test_the_shipped_graph_gives_librosas_mel_bands_of_a_hundred_recordings(test_data: Path) -> None:
    served = OnnxModel(SHIPPED)
    with opened(test_data / "data/emodb.zip") as (container, names):
        for name in names[::4][:100]:
            (window, *_) = recordings.windows(recordings.decode(container.read(name)))
            np.testing.assert_allclose(served(window[None])[0], oracle(window), atol=TOLERANCE_DB)
