from __future__ import annotations

import numpy as np
import pytest

from mien import Box, Emotion, Face, RecognizedFace
from mien.draw import COLORS, annotate


def recognized(box: Box, label: str = "happy") -> RecognizedFace:
    return RecognizedFace(Face(box), Emotion({label: 0.97, "other": 0.03}, "1"))


@pytest.mark.parametrize("label", COLORS)
def test_the_box_has_the_colour_of_the_emotion(label: str) -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    drawn = annotate(picture, [recognized(Box(100, 100, 100, 100), label)])
    assert tuple(drawn[150, 100]) == COLORS[label]
    assert (picture == 0).all()


@pytest.mark.parametrize(
    "box",
    [Box(-50, -50, 80, 80), Box(350, 350, 100, 100), Box(-10, -10, 900, 900), Box(3, 200, 2, 2)],
)
def test_the_label_stays_inside_the_picture(box: Box) -> None:
    drawn = annotate(np.zeros((400, 400, 3), np.uint8), [recognized(box)])
    label = (drawn == COLORS["happy"]).all(-1)
    # Some row has a run of label background longer than any outline.
    assert label.sum(1).max() > 40


@pytest.mark.parametrize(("shape", "factor"), [((48, 48), 7), ((1, 1), 320), ((319, 10), 2), ((2000, 3000), 1)])
def test_tiny_pictures_are_enlarged(shape: tuple[int, int], factor: int) -> None:
    drawn = annotate(np.zeros((*shape, 3), np.uint8), [recognized(Box(0, 0, *shape))])
    assert drawn.shape == (shape[0] * factor, shape[1] * factor, 3)


def test_an_unknown_label_is_drawn_too() -> None:
    assert annotate(np.zeros((320, 320, 3), np.uint8), [recognized(Box(99, 99, 99, 99), "bored")]).any()
