"""A dataset's grey faces as a network takes them, in NumPy: for ONNX files, which do without Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_input(faces: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Enlarge grey faces as crops of photographs are enlarged, and repeat grey for each colour.

    Args:
        faces: (N, H, W, 1) grey levels 0..255, any number type.
        shape: height, width and channels of the network's input.

    Returns:
        (N, *shape) float32; `faces` themselves where they have the shape already.
    """
    height, width, channels = shape
    grey = faces.astype(np.float32)
    if grey.shape[1:3] != (height, width):
        enlarged = [cv2.resize(face, (width, height), interpolation=cv2.INTER_LINEAR) for face in grey[..., 0]]
        grey = np.asarray(enlarged, np.float32)[..., None]
    return grey if grey.shape[-1] == channels else np.repeat(grey, channels, axis=-1)
