"""What is said of a voice's frames, against librosa where it says the same, and against known sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import librosa
import numpy as np
import pytest
from scipy.stats import entropy

from mien.contract import AUDIO, SAMPLE_RATE_HZ
from training import recordings
from training.descriptors import MEL_BANDS, NAMES, ROLL_OFFS, Descriptors
from training.export.golden import synthetic_speech
from training.reading import opened
from training.spectrogram import FRAME_LENGTH, HOP_LENGTH

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE_DB = 0.01
TOLERANCE_KHZ = 1e-3
BIN_KHZ = SAMPLE_RATE_HZ / FRAME_LENGTH / 1000
"""A share of the energy that ends between two bins may be found in either."""

SAMPLE = 1 / FRAME_LENGTH
"""A crossing at the edge of a frame may be seen in the next."""

SPOKEN_DB = -45.0
"""Quieter frames are pauses, which have no spectrum to speak of: there rounding decides."""


@pytest.fixture(scope="module")
def model() -> keras.Model:
    audio = keras.Input(AUDIO.shape)
    return keras.Model(audio, Descriptors()(audio))


def column(described: np.ndarray, name: str) -> np.ndarray:
    return described[..., NAMES.index(name)]


def tone(hz: float) -> np.ndarray:
    """A voice's buzz: a tone with overtones that fall off."""
    time = np.arange(AUDIO.shape[0]) / SAMPLE_RATE_HZ
    return np.asarray(sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 8)) / 4, np.float32)[None]


def assert_librosa_agrees(described: np.ndarray, samples: np.ndarray) -> None:
    """Hold one window's descriptors against librosa's."""
    power = np.abs(librosa.stft(samples, n_fft=FRAME_LENGTH, hop_length=HOP_LENGTH)) ** 2
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE_HZ, n_mels=MEL_BANDS), ref=np.max)
    np.testing.assert_allclose(described[:, :MEL_BANDS], mel.T, atol=TOLERANCE_DB)
    spoken = column(described, "level") > SPOKEN_DB
    centroid = librosa.feature.spectral_centroid(S=power, sr=SAMPLE_RATE_HZ)[0] / 1000
    spread = librosa.feature.spectral_bandwidth(S=power, sr=SAMPLE_RATE_HZ)[0] / 1000
    np.testing.assert_allclose(column(described, "centroid")[spoken], centroid[spoken], atol=TOLERANCE_KHZ)
    np.testing.assert_allclose(column(described, "spread")[spoken], spread[spoken], atol=TOLERANCE_KHZ)
    for share in ROLL_OFFS:
        below = librosa.feature.spectral_rolloff(S=power, sr=SAMPLE_RATE_HZ, roll_percent=share)[0] / 1000
        found = column(described, f"roll_off_{share:.0%}")
        np.testing.assert_allclose(found[spoken], below[spoken], atol=BIN_KHZ + 1e-6)
    crossings = librosa.feature.zero_crossing_rate(samples, frame_length=FRAME_LENGTH, hop_length=HOP_LENGTH)[0]
    # Samples of less than 1e-10 have a sign here and none in librosa, which also repeats the last one at both ends.
    signed = np.pad(np.abs(samples) > 1e-10, FRAME_LENGTH // 2)
    signed = librosa.util.frame(signed, frame_length=FRAME_LENGTH, hop_length=HOP_LENGTH).all(axis=0)
    assert (spoken & signed).any()
    np.testing.assert_allclose(
        column(described, "zero_crossings")[spoken & signed], crossings[spoken & signed], atol=2 * SAMPLE
    )


def test_there_is_a_name_for_every_column(model: keras.Model) -> None:
    assert model.output_shape == (None, 151, len(NAMES))


def test_the_layer_gives_what_librosa_gives(model: keras.Model) -> None:
    speech = synthetic_speech(4)

    for described, samples in zip(model.predict(speech, verbose=0), speech, strict=True):
        assert_librosa_agrees(described, samples)


@pytest.mark.parametrize("hz", [85, 120, 210, 340])
def test_the_pitch_of_a_tone_is_its_frequency(model: keras.Model, hz: float) -> None:
    described = model.predict(tone(hz), verbose=0)[0, 5:-5]

    # A lag of whole samples is up to 1.6 % off, at the highest pitch.
    np.testing.assert_allclose(100 * 2 ** column(described, "pitch"), hz, rtol=0.016)
    assert column(described, "harmonicity").min() > 0.95


def test_noise_is_not_harmonic_and_flatter_than_a_tone(model: keras.Model) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (1, *AUDIO.shape)).astype(np.float32)

    hiss, buzz = (model.predict(samples, verbose=0)[0, 5:-5] for samples in (noise, tone(150)))

    assert column(hiss, "harmonicity").max() < 0.5
    assert column(hiss, "entropy").min() > column(buzz, "entropy").max()
    assert column(hiss, "tilt").min() > column(buzz, "tilt").max()
    assert column(hiss, "flux").min() > column(buzz, "flux").max()


def test_entropy_and_flux_are_those_of_the_spectrum_as_a_distribution(model: keras.Model) -> None:
    speech = synthetic_speech(1)
    power = np.abs(librosa.stft(speech[0] / np.abs(speech).max(), n_fft=FRAME_LENGTH, hop_length=HOP_LENGTH)) ** 2
    shares = power / power.sum(axis=0)

    described = model.predict(speech, verbose=0)[0]

    np.testing.assert_allclose(column(described, "entropy"), entropy(power, axis=0), atol=1e-3)
    distances = np.sqrt(np.square(np.diff(np.sqrt(shares), axis=1)).sum(axis=0))
    np.testing.assert_allclose(column(described, "flux")[1:], distances, atol=1e-3)


def test_loudness_makes_no_difference(model: keras.Model) -> None:
    speech = synthetic_speech(1)

    np.testing.assert_allclose(model.predict(speech, verbose=0), model.predict(0.1 * speech, verbose=0), atol=0.01)


def test_a_window_of_zeros_gives_numbers(model: keras.Model) -> None:
    assert np.isfinite(model.predict(np.zeros((1, *AUDIO.shape), np.float32), verbose=0)).all()


def test_the_layer_is_made_again_from_its_configuration(model: keras.Model) -> None:
    again = keras.Model.from_config(model.get_config())
    speech = synthetic_speech(1)

    np.testing.assert_array_equal(model.predict(speech, verbose=0), again.predict(speech, verbose=0))


@pytest.mark.data
def test_the_layer_gives_what_librosa_gives_of_a_hundred_recordings(model: keras.Model, test_data: Path) -> None:
    with opened(test_data / "data/emodb.zip") as (container, names):
        for name in names[::4][:100]:
            (window, *_) = recordings.windows(recordings.decode(container.read(name)))
            assert_librosa_agrees(model.predict_on_batch(window[None])[0], window)
