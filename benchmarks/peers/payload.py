"""What callers send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def faces_of(body: bytes) -> NDArray[np.uint8]:
    """Raw bytes of (N, 96, 96, 3) RGB crops as an array."""
    return np.frombuffer(body, np.uint8).reshape(-1, 96, 96, 3)
