"""Random changes to faces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from keras import ops

from tests.unit.training.faces import picture
from training.augmentation import Augmentation, AugmentationConfig, Mixup, RandomErasing, RandomGeometry, RandomLight

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFF = AugmentationConfig(
    flip=0, rotation_degrees=0, scale=0, shift=0, geometry_share=1, contrast=0, brightness=0, erasing=0, mixup=0
)


@pytest.fixture
def faces() -> NDArray[np.float32]:
    return np.stack([picture(seed) for seed in range(32)])[..., None].astype(np.float32)


def test_nothing_changes_outside_training(faces: NDArray[np.float32]) -> None:
    targets = np.eye(7, dtype=np.float32)[np.arange(32) % 7]

    view, same = Augmentation(AugmentationConfig(), seed=0)(faces, targets, training=False)

    np.testing.assert_array_equal(ops.convert_to_numpy(view), faces)
    np.testing.assert_array_equal(ops.convert_to_numpy(same), targets)


def test_every_change_can_be_turned_off(faces: NDArray[np.float32]) -> None:
    view, _ = Augmentation(OFF, seed=0)(faces, np.zeros((32, 7), np.float32), training=True)

    np.testing.assert_allclose(ops.convert_to_numpy(view), faces, atol=0.01)


def test_a_flip_mirrors_left_and_right(faces: NDArray[np.float32]) -> None:
    view = RandomGeometry(replace(OFF, flip=1), seed=0)(faces, training=True)

    np.testing.assert_allclose(ops.convert_to_numpy(view), faces[:, :, ::-1], atol=0.01)


def test_a_face_stays_in_the_middle_when_it_is_turned_and_scaled() -> None:
    spot = np.zeros((64, 48, 48, 1), np.float32)
    spot[:, 22:26, 22:26] = 255
    config = replace(OFF, flip=0.5, rotation_degrees=45, scale=0.2)

    view = ops.convert_to_numpy(RandomGeometry(config, seed=0)(spot, training=True))[..., 0]

    rows, columns = np.mgrid[:48, :48]
    for face in view:
        assert (face * rows).sum() / face.sum() == pytest.approx(23.5, abs=0.2)
        assert (face * columns).sum() / face.sum() == pytest.approx(23.5, abs=0.2)
    assert view.sum(axis=(1, 2)).std() > 0


def test_shifts_reach_their_limit_and_no_further() -> None:
    spot = np.zeros((256, 48, 48, 1), np.float32)
    spot[:, 24, 24] = 255

    view = ops.convert_to_numpy(RandomGeometry(replace(OFF, shift=5), seed=0)(spot, training=True))[..., 0]

    columns = (view * np.arange(48)).sum(axis=(1, 2)) / view.sum(axis=(1, 2))
    assert 3 < np.abs(columns - 24).max() <= 5.01


def test_light_stays_within_grey_levels(faces: NDArray[np.float32]) -> None:
    view = ops.convert_to_numpy(RandomLight(AugmentationConfig(contrast=1, brightness=100), 0)(faces, training=True))

    assert view.min() >= 0
    assert view.max() <= 255
    assert np.abs(view - faces).mean() > 10


def test_about_the_asked_share_is_erased(faces: NDArray[np.float32]) -> None:
    many = np.repeat(faces, 8, axis=0)

    view = ops.convert_to_numpy(RandomErasing(AugmentationConfig(erasing=0.5), 0)(many, training=True))

    changed = np.any(view != many, axis=(1, 2, 3))
    assert 0.35 < changed.mean() < 0.65
    assert set(np.unique(view[view != many])) == {128.0}


def test_mixup_blends_targets_as_it_blends_faces() -> None:
    labels = np.arange(32) % 2
    faces = np.ones((32, 4, 4, 1), np.float32) * labels[:, None, None, None]

    view, targets = Mixup(0.4, seed=0)(faces, np.eye(2, dtype=np.float32)[labels], training=True)

    targets = ops.convert_to_numpy(targets)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(view)[:, 0, 0, 0], targets[:, 1], atol=1e-6)
    np.testing.assert_array_equal(targets.argmax(axis=1), labels)


def test_colours_are_changed_together(faces: NDArray[np.float32]) -> None:
    targets = np.eye(7, dtype=np.float32)[np.arange(32) % 7]

    grey, grey_targets = Augmentation(AugmentationConfig(), seed=3)(faces, targets, training=True)
    colour, colour_targets = Augmentation(AugmentationConfig(), seed=3)(np.repeat(faces, 3, -1), targets, training=True)

    np.testing.assert_allclose(ops.convert_to_numpy(colour), np.repeat(ops.convert_to_numpy(grey), 3, -1), atol=0.01)
    np.testing.assert_array_equal(ops.convert_to_numpy(colour_targets), ops.convert_to_numpy(grey_targets))


def test_the_same_seed_changes_faces_alike(faces: NDArray[np.float32]) -> None:
    targets = np.zeros((32, 7), np.float32)
    first, second, other = (
        ops.convert_to_numpy(Augmentation(AugmentationConfig(), seed)(faces, targets, training=True)[0])
        for seed in (1, 1, 50)
    )

    np.testing.assert_array_equal(first, second)
    assert np.any(first != other)
