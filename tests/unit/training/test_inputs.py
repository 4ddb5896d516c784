"""A dataset's grey faces as networks take them."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.unit.training.faces import picture
from training import inputs, preprocessing

FACES = np.stack([picture(seed) for seed in range(4)])[..., None]


def test_a_grey_network_takes_the_faces_as_they_are() -> None:
    np.testing.assert_array_equal(inputs.as_input(FACES, (48, 48, 1)), FACES)


def test_a_colour_network_takes_them_enlarged_with_every_colour_grey() -> None:
    enlarged = inputs.as_input(FACES, (96, 96, 3))

    assert enlarged.shape == (4, 96, 96, 3)
    assert enlarged.dtype == np.float32
    assert (enlarged == enlarged[..., :1]).all()
    shrunk = enlarged[..., 0].reshape(4, 48, 2, 48, 2).mean(axis=(2, 4))
    assert np.abs(shrunk - FACES[..., 0]).mean() < 1


@pytest.mark.parametrize("shape", [(48, 48, 1), (96, 96, 1), (96, 96, 3)])
def test_training_and_evaluation_give_a_network_the_same(shape: tuple[int, int, int]) -> None:
    on_device = preprocessing.as_input(ops.convert_to_tensor(FACES.astype(np.float32)), shape)

    np.testing.assert_allclose(ops.convert_to_numpy(on_device), inputs.as_input(FACES, shape), atol=1e-3)
