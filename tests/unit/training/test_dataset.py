"""Parts of a dataset."""

from __future__ import annotations

import numpy as np
import pytest

from training.dataset import Split, balanced
from training.errors import DatasetError


def split(*counts: int) -> Split:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split(np.zeros((len(labels), 48, 48, 1), np.uint8), labels, tuple(map(str, range(len(labels)))))


def test_a_balanced_part_has_as_many_of_each_class_as_there_are() -> None:
    part = balanced(split(50, 3, 40), 23, seed=0)

    assert np.bincount(part.labels).tolist() == [10, 3, 10]
    assert len(set(part.names)) == 23


def test_the_part_depends_on_the_seed_alone() -> None:
    faces = split(50, 50)

    assert balanced(faces, 10, seed=1).names == balanced(faces, 10, seed=1).names
    assert balanced(faces, 10, seed=1).names != balanced(faces, 10, seed=2).names


@pytest.mark.parametrize("faces", [1, 101])
def test_a_part_that_cannot_be_drawn_is_refused(faces: int) -> None:
    with pytest.raises(DatasetError, match=f"{faces} faces cannot be drawn: it must be from 2 to 100"):
        balanced(split(50, 50), faces, seed=0)
