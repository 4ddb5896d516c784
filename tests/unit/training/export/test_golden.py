"""Synthetic faces."""

from __future__ import annotations

import numpy as np

from training.export.golden import synthetic_faces


def test_the_same_seed_draws_the_same_faces_and_another_draws_others() -> None:
    faces = synthetic_faces(3, seed=1)

    assert faces.shape == (3, 96, 96, 3)
    assert faces.dtype == np.uint8
    np.testing.assert_array_equal(faces, synthetic_faces(3, seed=1))
    assert np.any(faces != synthetic_faces(3, seed=2))
    assert np.any(faces[0] != faces[1])
