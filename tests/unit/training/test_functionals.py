"""Statistics over the frames that count, against NumPy's and SciPy's."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from mien.contract import AUDIO, FUNCTIONALS
from training import recordings
from training.descriptors import NAMES
from training.export.release import FEATURES_TOLERANCE
from training.functionals import PERCENTILES, Functionals, rhythm, statistics
from training.onnx_inference import OnnxModel
from training.preprocessing import functionals
from training.reading import opened

SHIPPED = Path(__file__).parents[3] / "model_repository/speech_preprocess/1/model.onnx"

FRAMES = 40


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, 3.0, (2, 60, 3)).astype(np.float32)


@pytest.fixture
def counted() -> np.ndarray:
    counted = np.zeros((2, 60, 1), np.float32)
    counted[0, 5 : 5 + FRAMES], counted[1, ::2] = 1, 1
    return counted


@pytest.fixture
def voice() -> np.ndarray:
    """A second of descriptors of speech, then silence."""
    described = np.random.default_rng(1).normal(size=(1, 151, len(NAMES))).astype(np.float32)
    described[..., NAMES.index("level")] = np.where(np.arange(151) < 50, -10, -80)
    described[..., NAMES.index("harmonicity")] = 0.8
    return described


def test_they_are_numpys_and_scipys_of_the_frames_that_count(values: np.ndarray, counted: np.ndarray) -> None:
    rows = ops.convert_to_numpy(statistics(values, counted)).reshape(2, -1, 3)

    for found, all_frames, which in zip(rows, values, counted[..., 0] > 0, strict=True):
        frames = all_frames[which]
        time = np.linspace(-1, 1, len(frames))
        percentiles = np.percentile(frames, PERCENTILES, axis=0)
        np.testing.assert_allclose(found[0], frames.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found[1], frames.std(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found[2], stats.skew(frames, axis=0), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[3], stats.kurtosis(frames, axis=0, fisher=False), rtol=1e-3)
        np.testing.assert_allclose(found[4], np.polyfit(time, frames, 1)[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[7 : 7 + len(PERCENTILES)], percentiles, rtol=1e-4)
        np.testing.assert_allclose(found[-1], percentiles[-1] - percentiles[0], rtol=1e-4)


def test_rising_and_crossing_are_shares_of_neighbouring_frames() -> None:
    steps = np.array([0, 1, 2, 3, 0, 3, 0, 3], np.float32).reshape(1, -1, 1)

    found = ops.convert_to_numpy(statistics(steps, np.ones_like(steps)))[0]

    assert found[5] == pytest.approx(5 / 7)
    assert found[6] == pytest.approx(5 / 7)


def test_rhythm_counts_stretches_of_voice() -> None:
    spoken = np.ones((1, 12, 1), np.float32)
    voiced = np.array([1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0], np.float32).reshape(1, -1, 1)

    np.testing.assert_allclose(rhythm(spoken, voiced), [[6 / 12, 2 / 12, 3]])


def test_silence_behind_speech_counts_nowhere(voice: np.ndarray) -> None:
    other = voice.copy()
    other[:, 52:, : NAMES.index("level")] = 5.0

    np.testing.assert_array_equal(Functionals()(voice), Functionals()(other))


@pytest.mark.parametrize("loud", [0, 3])
def test_a_recording_of_hardly_any_frames_gives_numbers(voice: np.ndarray, loud: int) -> None:
    voice[:, loud:, NAMES.index("level")] = -80
    voice[..., NAMES.index("harmonicity")] = 0.0

    assert np.isfinite(Functionals()(voice)).all()


def test_the_layer_is_made_again_from_its_configuration(voice: np.ndarray) -> None:
    inputs = keras.Input(voice.shape[1:])
    model = keras.Model(inputs, Functionals()(inputs))
    again = keras.Model.from_config(model.get_config())

    np.testing.assert_array_equal(model.predict(voice, verbose=0), again.predict(voice, verbose=0))


def test_there_are_as_many_as_the_contract_says() -> None:
    assert functionals().output_shape == (None, *FUNCTIONALS.shape)


def test_a_window_of_zeros_gives_numbers() -> None:
    assert np.isfinite(functionals().predict(np.zeros((1, *AUDIO.shape), np.float32), verbose=0)).all()


@pytest.mark.data
def test_the_shipped_graph_gives_what_the_layers_give_of_a_hundred_recordings(test_data: Path) -> None:
    served, layers = OnnxModel(SHIPPED), functionals()
    with opened(test_data / "data/emodb.zip") as (container, names):
        decoded = [recordings.windows(recordings.decode(container.read(name)))[:1] for name in names[::4][:100]]
    windows = np.concatenate(decoded)

    expected = layers.predict(windows, verbose=0)

    differences = np.abs(served.predict(windows) - expected)
    # Where a frame lies on its mean but for rounding, it is rounding that says whether the next one crosses it.
    assert np.mean(differences > FEATURES_TOLERANCE[FUNCTIONALS]) < 1e-4
    assert differences.max() < 0.1
