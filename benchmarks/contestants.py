"""Who takes part in `benchmarks.serving`: each answers the same faces, at a rate and with a latency.

They take part in turn, never at once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

from benchmarks.measure import async_throughput, median_latency_ms, throughput
from benchmarks.peers.onnx_pair import OnnxPair
from mien import AsyncEmotionClient

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peer import RunningPeer
    from benchmarks.perf_analyzer import PerfAnalyzer
    from mien import EmotionClient

    Faces = NDArray[np.uint8]


class Contestant(Protocol):
    """One way to classify faces.

    Attributes:
        name: as the table shows it.
    """

    name: str

    def latency_ms(self, faces: Faces, seconds: float) -> float | None:
        """p50 of one caller; None where that cannot be measured in the same way."""

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """Answers a second to so many callers, each in a closed loop with `faces`, (N, 96, 96, 3)."""


class InProcess:
    """The limit: the two graphs in ONNX Runtime, in this process, in the best of several ways."""

    name = "ONNX Runtime in process"

    WAYS = ((1, 1), (1, 2), (1, None), (2, 1), (2, None))
    """(threads inside the classifier, threads that call); None for as many as there are callers."""

    def __init__(self, preprocess: Path, classifier: Path) -> None:
        self._pairs = {threads: OnnxPair(preprocess, classifier, threads) for threads in (1, 2)}

    def latency_ms(self, faces: Faces, seconds: float) -> float:
        """With two threads inside the classifier."""
        return median_latency_ms(partial(self._pairs[2], faces), seconds)

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """The best way's; nobody has to wait for a network here, so fewer callers may serve more."""
        return max(
            throughput(partial(self._pairs[threads], faces), min(calling or callers, callers), seconds)
            for threads, calling in self.WAYS
        )


class SyncSdk:
    """Our ensemble, by threads that share one `EmotionClient`."""

    def __init__(self, client: EmotionClient) -> None:
        self.name = "Mien, SDK, gathered" if client.settings.gather else "Mien, SDK, threads"
        self._client = client

    def latency_ms(self, faces: Faces, seconds: float) -> float:
        """Of `classify`."""
        return median_latency_ms(partial(self._client.classify, faces), seconds)

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """Of `classify`."""
        return throughput(partial(self._client.classify, faces), callers, seconds)


class AsyncSdk:
    """Our ensemble, by tasks of one event loop that share one `AsyncEmotionClient`."""

    name = "Mien, SDK, asyncio"

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def latency_ms(self, faces: Faces, seconds: float) -> None:  # noqa: ARG002 (the threads' figure stands for both)
        """Left out."""
        return

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """Of `classify`."""
        return asyncio.run(self._run(faces, callers, seconds))

    async def _run(self, faces: Faces, callers: int, seconds: float) -> float:
        async with AsyncEmotionClient(self._endpoint) as client:
            return await async_throughput(partial(client.classify, faces), callers, seconds)


class Independent:
    """Our ensemble, loaded by perf_analyzer: what the server answers when its callers cost next to nothing."""

    name = "Mien, perf_analyzer"

    def __init__(self, program: PerfAnalyzer, endpoint: str) -> None:
        self._program = program
        self._endpoint = endpoint

    def latency_ms(self, faces: Faces, seconds: float) -> float:
        """As the program tells it."""
        return self._program.measure(self._endpoint, 1, len(faces), seconds).p50_ms

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """As the program tells it."""
        return self._program.measure(self._endpoint, callers, len(faces), seconds).faces_per_s / len(faces)


class Other:
    """Another server, see `benchmarks.peer`; stopped while it is not measured."""

    def __init__(self, peer: RunningPeer) -> None:
        self.name = peer.peer.name
        self._peer = peer

    def latency_ms(self, faces: Faces, seconds: float) -> float:
        """Of its caller."""
        with self._peer.awake():
            return median_latency_ms(self._peer.call(faces), seconds)

    def calls_per_s(self, faces: Faces, callers: int, seconds: float) -> float:
        """Of its caller."""
        with self._peer.awake():
            return throughput(self._peer.call(faces), callers, seconds)
