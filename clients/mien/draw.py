"""Pictures with the faces' boxes and emotions drawn in."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mien.results import RecognizedFace

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "angry": (229, 57, 53),
    "disgust": (67, 160, 71),
    "fear": (171, 71, 188),
    "happy": (255, 202, 40),
    "sad": (66, 133, 244),
    "surprise": (255, 130, 20),
    "neutral": (200, 205, 210),
}
"""RGB of each emotion's box."""

_OTHER: Color = (255, 255, 255)

LEAST_SIDE = 320
"""Pictures with a smaller longest side are enlarged first: no letter is legible in 50 pixels."""

LEAST_FONT = 11
"""Height of the smallest letters, in pixels."""


def annotate(picture: NDArray[np.uint8], faces: Iterable[RecognizedFace]) -> NDArray[np.uint8]:
    """A copy of a picture with each face's box, emotion and confidence.

    Args:
        picture: (H, W, 3) uint8, RGB.
        faces: with boxes in the picture's pixels.

    Returns:
        (H, W, 3) uint8, RGB; enlarged by a whole factor if the picture is tiny.
    """
    height, width = picture.shape[:2]
    factor = -(-LEAST_SIDE // max(height, width))
    image = Image.fromarray(picture)
    if factor > 1:
        image = image.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    # Small faces first, so that the label of a near face is not covered by one behind it.
    ordered = sorted(faces, key=lambda face: face.face.box.area)
    # A lone small face gets a label that shows at first sight; in a crowd labels must not cover the neighbours.
    least_font = max(LEAST_FONT, max(image.size) / (50 + 4 * len(ordered)))
    for face in ordered:
        _draw_face(canvas, image.size, face, factor, least_font)
    return np.asarray(image)


def _draw_face(
    canvas: ImageDraw.ImageDraw, size: tuple[int, int], recognized: RecognizedFace, factor: int, least_font: float
) -> None:
    box, emotion = recognized.face.box, recognized.emotion
    color = COLORS.get(emotion.label, _OTHER)
    left, top = box.x * factor, box.y * factor
    right, bottom = (box.x + box.width) * factor, (box.y + box.height) * factor
    longest = max(size)
    line = max(2, round(min(longest / 400, box.side * factor / 20)))
    canvas.rectangle((left, top, right, bottom), outline=color, width=line)

    font = _font(round(min(max(box.side * factor / 6, least_font), longest / 25)))
    text = f"{emotion.label} {emotion.confidence:.0%}"
    pad = max(2, round(font.size / 5))
    text_left, text_top, text_right, text_bottom = font.getbbox(text)
    label_width, label_height = text_right - text_left + 2 * pad, text_bottom - text_top + 2 * pad
    x = max(0, min(left, size[0] - label_width))
    y = top - label_height if top >= label_height else min(bottom, size[1] - label_height)
    canvas.rectangle((x, y, x + label_width, y + label_height), fill=color)
    canvas.text((x + pad - text_left, y + pad - text_top), text, font=font, fill=_ink_on(color))


def _ink_on(color: Color) -> Color:
    """Black or white, whichever stands out: by the luma of ITU-R BT.601."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType; install Pillow's own wheel.")
    return font
