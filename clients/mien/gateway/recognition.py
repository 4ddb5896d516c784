"""A picture's way: a worker process finds its faces, the model server names their emotions."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import numpy as np

from mien.deadline import Deadline
from mien.detectors import HaarDetector, load_detector
from mien.gateway import decoding, hearing, processes, tracing
from mien.gateway.decoding import Decoder, LocatedPicture, WorkerLimits
from mien.gateway.processes import WorkerProcess
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.workers import Workers
from mien.results import Recognition, RecognizedFace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from mien.async_client import AsyncEmotionClient
    from mien.gateway.settings import GatewaySettings

HEADER_BYTES = 12


def check_picture(content: bytes) -> None:
    """Look at the first bytes of a file before anything is made of it.

    Raises:
        RequestRefusedError: it is no JPEG, PNG or WebP.
    """
    head = content[:HEADER_BYTES]
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    if not (head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or is_webp):
        raise RequestRefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The image is not a JPG, PNG or WebP file.")


class Recognizer:
    """Recognizes pictures with worker processes and a client.

    Args:
        client: asks the model server; its settings say how faces are found.
        settings: of the gateway.
    """

    def __init__(self, client: AsyncEmotionClient, settings: GatewaySettings) -> None:
        self._client = client
        self._settings = settings
        self._workers: Workers | None = None

    async def __aenter__(self) -> Self:
        """Start the workers.

        Raises:
            DetectorError: the face detector cannot be loaded.
        """
        processes.preload(decoding.__name__, hearing.__name__)
        # Here first, so that it is fetched once and what it falls back to is said once.
        self._detector = await asyncio.to_thread(load_detector, self._client.settings)
        self._workers = await Workers(self._settings.workers, self._create_decoder(0)).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            await self._workers.__aexit__(kind, error, trace)

    async def recognize(self, content: bytes, request_id: str) -> Recognition:
        """The faces of a picture file and their emotions.

        Raises:
            RequestRefusedError: it is no picture of a kind that is taken.
            MediaError: it cannot be used.
            InferenceError: the model server cannot answer.
        """
        check_picture(content)
        deadline = Deadline(self._client.settings.deadline_s)
        with tracing.part_span("detect"):
            located = await self._locate(content, deadline.remaining_s())
        (recognition,) = await self.classify([located], request_id, deadline.remaining_s())
        return recognition

    async def classify(
        self, pictures: Sequence[LocatedPicture], request_id: str, deadline_s: float | None = None
    ) -> list[Recognition]:
        """The emotions of faces that were found in one or more pictures.

        Raises:
            InferenceError: the model server cannot answer.
        """
        started = time.perf_counter()
        crops = np.concatenate([picture.crops for picture in pictures])
        with tracing.part_span("infer") as span:
            span.set_attribute("mien.faces", len(crops))
            answer = await self._client.classify(crops, deadline_s=deadline_s, request_id=request_id)
        infer_s = time.perf_counter() - started
        rows = iter(range(len(answer)))
        return [
            Recognition(
                width=picture.width,
                height=picture.height,
                faces=tuple(RecognizedFace(face, answer[next(rows)]) for face in picture.faces),
                detector=picture.detector,
                request_id=request_id,
                detect_s=picture.detect_s,
                infer_s=infer_s,
            )
            for picture in pictures
        ]

    def video_worker(self) -> WorkerProcess:
        """A process for one video."""
        return WorkerProcess(self._create_decoder(self._settings.video_niceness))

    def _create_decoder(self, niceness: int) -> partial[Decoder]:
        settings = self._client.settings
        if self._detector.name == HaarDetector.name:
            settings = settings.model_copy(update={"detector": "haar"})
        limits = WorkerLimits(self._settings.worker_memory_bytes, self._settings.max_faces, niceness)
        return partial(Decoder, settings, limits)

    async def _locate(self, content: bytes, wait_s: float) -> LocatedPicture:
        if self._workers is None:
            raise RuntimeError("The recognizer has not been entered.")
        located: LocatedPicture = await self._workers.call(
            "locate", content, timeout_s=self._settings.decode_timeout_s, wait_s=wait_s
        )
        return located
