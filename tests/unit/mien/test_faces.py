from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import CROP_SCALE, Box, Face, crop, crops

sizes = st.integers(1, 120)


@st.composite
def pictures_with_boxes(draw: st.DrawFn) -> tuple[np.ndarray, Box]:
    height, width = draw(sizes), draw(sizes)
    x, y = draw(st.floats(0, width, exclude_max=True)), draw(st.floats(0, height, exclude_max=True))
    limit = 2.0 * max(width, height)
    box_width, box_height = draw(st.floats(1, max(1, limit))), draw(st.floats(1, max(1, limit)))
    picture = np.full((height, width, 3), (10, 20, 30), np.uint8)
    return picture, Box(x - box_width / 2, y - box_height / 2, box_width, box_height)


@given(pictures_with_boxes())
def test_every_sane_box_gives_a_crop_of_the_pictures_pixels(pair: tuple[np.ndarray, Box]) -> None:
    picture, box = pair
    cut = crop(picture, box)
    assert (cut.shape, cut.dtype, cut.flags.c_contiguous) == ((96, 96, 3), np.uint8, True)
    assert (cut == (10, 20, 30)).all()


def test_the_crop_is_the_square_of_the_longer_side_around_the_middle() -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    side = round(200 * CROP_SCALE)
    picture[200 - side // 2 : 200 + side // 2, 200 - side // 2 : 200 + side // 2] = 255
    assert (crop(picture, Box(150, 100, 100, 200)) == 255).all()
    wider = crop(picture, Box(150, 100, 100, 200 / CROP_SCALE))
    assert (wider[48, 48] == 255).all()
    assert (wider[0, 0] < 255).all()


def test_a_crop_over_the_border_repeats_the_edge() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:, 0] = 200
    cut = crop(picture, Box(-40, 20, 60, 60))
    assert (cut[:, :30] == 200).all()
    assert (cut[:, -10:] == 0).all()


def test_crops_of_no_face_are_an_empty_batch() -> None:
    assert crops(np.zeros((9, 9, 3), np.uint8), []).shape == (0, 96, 96, 3)
    assert crops(np.zeros((9, 9, 3), np.uint8), [Face(Box(0, 0, 9, 9))] * 3).shape == (3, 96, 96, 3)


@pytest.mark.parametrize(
    "box",
    [
        Box(math.nan, 0, 5, 5),
        Box(0, 0, math.inf, 5),
        Box(1e16, 0, 5, 5),
        Box(0, 0, 1e16, 1e16),
        Box(0, 0, 0, 5),
        Box(50, 0, 5, 5),
    ],
)
def test_boxes_that_cannot_be_a_face_are_known(box: Box) -> None:
    assert not box.is_sane(40, 30)
    assert Box(-3, -3, 20, 20).is_sane(40, 30)


boxes = st.builds(Box, *[st.floats(-50, 50)] * 2, *[st.floats(1, 50)] * 2)


@given(boxes, boxes)
def test_iou_is_a_symmetric_share(a: Box, b: Box) -> None:
    assert a.iou(b) == b.iou(a)
    assert 0 <= a.iou(b) <= 1 + 1e-9
    assert a.iou(a) == pytest.approx(1)
