"""Boxes in whole pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.faces import Box


def clipped(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of the part of a box that lies inside a picture."""
    left, top = max(0, round(box.x)), max(0, round(box.y))
    right, bottom = min(width, round(box.x + box.width)), min(height, round(box.y + box.height))
    return left, top, right - left, bottom - top
