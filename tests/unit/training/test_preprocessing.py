"""The preprocessing that is trained with and exported."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.preprocessing import GreyArea, grey48


def test_grey_levels_are_those_of_opencv() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), np.uint8)
    expected = [
        cv2.resize(cv2.cvtColor(face.astype(np.float32), cv2.COLOR_RGB2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
        for face in faces
    ]

    pixels = grey48().predict(faces, verbose=0)

    assert pixels.shape == (4, 48, 48, 1)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[..., 0], expected, atol=1e-3)


def test_a_grey_face_enlarged_without_smoothing_comes_back() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)
    faces = np.repeat(np.repeat(grey, 2, axis=1), 2, axis=2)[..., None].repeat(3, axis=-1)

    np.testing.assert_allclose(grey48().predict(faces, verbose=0)[..., 0], grey, atol=1e-3)


def test_colours_are_taken_as_rgb() -> None:
    red = np.zeros((1, 96, 96, 3), np.uint8)
    red[..., 0] = 255

    assert grey48().predict(red, verbose=0).mean() == pytest.approx(255 * 0.299, abs=1e-3)


def test_a_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 2"):
        GreyArea(2)(np.zeros((1, 97, 96, 3), np.uint8))


def test_the_layer_survives_its_config() -> None:
    assert GreyArea.from_config(GreyArea(3).get_config()).factor == 3
