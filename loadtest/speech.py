"""What is sent to the ensemble for speech: made windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien import contract

if TYPE_CHECKING:
    from numpy.typing import NDArray


def made_windows(count: int) -> NDArray[np.float32]:
    """(count, 48000) float32 of noise: what a window sounds like changes nothing in how long its answer takes."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, *contract.AUDIO.shape)).astype(np.float32)
