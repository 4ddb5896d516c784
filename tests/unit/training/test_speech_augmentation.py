"""Random changes to voices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from mien.contract import LOG_MEL
from training.speech_augmentation import MASK_DB, RandomMasks, SpeechAugmentation

CONFIG = SpeechAugmentation()
OFF = SpeechAugmentation(
    speed=0, pitch=0, shift=0, again_share=0, cut_share=0, microphone_db=0, noise_share=0, masks=0, mixup=0
)


@pytest.fixture
def bands() -> np.ndarray:
    rough = np.random.default_rng(0).uniform(-80, -10, (8, *LOG_MEL.shape)).astype(np.float32)
    rough[:, 20, 20] = 0
    rough[:, 100:] = -80
    return rough


def changed(config: SpeechAugmentation, bands: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    view, targets = config.layer(seed)(bands, np.eye(len(bands), dtype=np.float32), training=True)
    return ops.convert_to_numpy(view), ops.convert_to_numpy(targets)


def test_nothing_changes_outside_training_or_when_all_is_off(bands: np.ndarray) -> None:
    targets = np.eye(len(bands), dtype=np.float32)
    view, same = CONFIG.layer(0)(bands, targets, training=False)

    np.testing.assert_array_equal(view, bands)
    np.testing.assert_array_equal(same, targets)
    np.testing.assert_allclose(changed(OFF, bands)[0], bands, atol=1e-4)


def test_the_loudest_stays_at_0_db_and_silence_at_80_below(bands: np.ndarray) -> None:
    view, _ = changed(replace(CONFIG, masks=0, mixup=0), bands)

    np.testing.assert_allclose(view.max(axis=(1, 2)), 0, atol=1e-4)
    assert view.min() >= -80


def test_the_same_seed_gives_the_same_changes_and_another_others(bands: np.ndarray) -> None:
    first, again, other = (changed(CONFIG, bands, seed)[0] for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_beginning_said_again_fills_the_window(bands: np.ndarray) -> None:
    view, _ = changed(replace(OFF, again_share=1.0), bands)

    np.testing.assert_allclose(view[:, 101:150], bands[:, 11:60], atol=1e-4)


def test_speech_cut_short_is_followed_by_silence(bands: np.ndarray) -> None:
    view, _ = changed(replace(OFF, cut_share=1.0, shortest=50.0), np.zeros_like(bands))

    lengths = (view[:, :, 0] > -80).sum(axis=1)
    assert (lengths >= 50).all()
    assert (view[:, -1] == -80).any()


def test_masks_are_stripes(bands: np.ndarray) -> None:
    view = ops.convert_to_numpy(RandomMasks(replace(CONFIG, masks=2), 0)(bands, training=True))

    masked = view == MASK_DB
    assert masked.any()
    assert (masked.all(axis=1).any(axis=1) | masked.all(axis=2).any(axis=1)).any()


def test_blended_targets_are_still_probabilities(bands: np.ndarray) -> None:
    _, targets = changed(CONFIG, bands)

    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert (targets.max(axis=1) < 1).any()
