"""The client of threads and the one of tasks, as a parameter of what holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mien import AsyncEmotionClient, ClientSettings, EmotionClient, Predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Run = Callable[[ClientSettings, Any], Predictions]


def classify_async(settings: ClientSettings, faces: NDArray[np.uint8]) -> Predictions:
    async def run() -> Predictions:
        async with AsyncEmotionClient(settings) as client:
            return await client.classify(faces)

    return asyncio.run(run())


def classify(settings: ClientSettings, faces: NDArray[np.uint8]) -> Predictions:
    with EmotionClient(settings) as client:
        return client.classify(faces)


BOTH = pytest.mark.parametrize("run", [classify, classify_async])
