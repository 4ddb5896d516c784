"""Row 10: requests with something wrong, sent as bytes, at Triton's gRPC port and at the gateway as it is served."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import numpy as np
import psutil
import pytest
from PIL import Image

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving.stubs import living_stubs
from tests.faults.mutants import HttpMutants, infer_bytes
from tests.gateways import running_gateway

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from serving import TritonServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(10)]

METHOD = "/inference.GRPCInferenceService/ModelInfer"
WINDOW = 48
"""Calls at once; fewer than Triton's queues hold, so that none is refused for that."""
GOOD_EVERY = 200

CALLER_AT_FAULT = {"INVALID_ARGUMENT", "NOT_FOUND"}
ALSO_FAIR = {
    # gRPC's own library answers so before Triton sees the call; there is no setting for it.
    "Unable to parse request": "bytes that are no message",
    "received metadata size exceeds hard limit": "a long name repeated in the error",  # the caller's library
    "string correlation ID cannot be longer": "long correlation id",  # as UNIMPLEMENTED
    "Request timeout expired": "a timeout that the mutant asks for",
    # Triton 2.51 takes a batch of 0 or 2^40 for one without a batch: row 12 is about what that does to others.
    "max allowed is": "batch counted as none",
    "ONNX Runtime failed: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT": "batch counted as none",
}
"""What else tells a caller that it is at fault, in codes that others chose and nothing here can change; and why."""


class Flood:
    """Sends bytes to ModelInfer, many at once, and counts what comes back."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.codes: Counter[str] = Counter()
        self.others: dict[str, bytes] = {}
        self._call = channel.unary_unary(METHOD)
        self._room = threading.BoundedSemaphore(WINDOW)
        self._lock = threading.Lock()

    def send(self, content: bytes) -> None:
        """Send one, as soon as there is room."""
        self._room.acquire()
        call = self._call.future(content, timeout=60)
        call.add_done_callback(lambda done: self._note(done, content))

    def wait(self) -> None:
        """Until all are answered."""
        for _ in range(WINDOW):
            self._room.acquire()

    def _note(self, call: grpc.Future, content: bytes) -> None:
        code, details = call.code().name, call.details()
        reasons = [reason for words, reason in ALSO_FAIR.items() if code != "OK" and words in details]
        is_fair = code == "OK" or code in CALLER_AT_FAULT
        with self._lock:
            self.codes[code if is_fair or not reasons else f"{code} ({reasons[0]})"] += 1
            if not is_fair and not reasons:
                self.others.setdefault(f"{code}: {details}", content)
        self._room.release()


def test_mutated_calls_of_modelinfer(triton: TritonServer, scale: Scale, figures: Figures) -> None:
    chance, count = scale.chance("ModelInfer"), scale.of(50_000, 1_500)
    stubs = living_stubs(triton.process_id)
    faces = np.random.default_rng(1).integers(0, 256, (2, *EMOTION.input.shape), np.uint8)
    memory = psutil.Process(triton.process_id).memory_info
    channel = grpc.insecure_channel(triton.endpoint)
    with channel, EmotionClient(ClientSettings(endpoints=triton.endpoint, deadline_s=60)) as client:
        expected = client.classify(faces).probabilities
        flood = Flood(channel)
        started, before = time.monotonic(), memory().rss
        for number in range(count):
            flood.send(infer_bytes(chance))
            if number % GOOD_EVERY == 0:
                np.testing.assert_allclose(client.classify(faces).probabilities, expected, atol=1e-5)
        flood.wait()
        seconds, grown = time.monotonic() - started, (memory().rss - before) / 1e6
        np.testing.assert_allclose(client.classify(faces).probabilities, expected, atol=1e-5)
    figures.add(
        f"{count:,} calls of ModelInfer in {seconds:.0f} s: {_counts(flood.codes)}; Triton {grown:+.0f} MB;"
        f" {count // GOOD_EVERY} good calls between them unchanged"
    )
    assert not flood.others, [(told, content[:300]) for told, content in list(flood.others.items())[:10]]
    assert sum(flood.codes.values()) == count
    assert living_stubs(triton.process_id) == stubs
    assert grown < 200


def test_mutated_requests_of_the_gateway(triton: TritonServer, tmp_path: Path, scale: Scale, figures: Figures) -> None:
    count = scale.of(20_000, 600)
    limits = dict.fromkeys(("DETECT_PER_MINUTE", "DETECT_VIDEO_PER_MINUTE", "CAMERAS_PER_MINUTE"), "1000000")
    settings = limits | {"MAX_IN_FLIGHT": "1000", "WORKERS": "2", "MAX_VIDEOS": "1000", "MAX_CAMERAS": "1000"}
    file = io.BytesIO()
    Image.new("RGB", (48, 48), "grey").save(file, "PNG")
    with running_gateway(triton.endpoint, tmp_path, **settings) as gateway:
        mutants = HttpMutants(file.getvalue())
        started = time.monotonic()
        answers = asyncio.run(_send_all(int(gateway.url.rpartition(":")[2]), mutants, scale.chance("REST"), count))
        seconds = time.monotonic() - started
        with gateway.client() as client:
            assert client.get("/ready").status_code == 200
        assert gateway.process.poll() is None
        log = gateway.log
    statuses = Counter(answer for answer, _ in answers)
    figures.add(f"{count:,} requests of the gateway in {seconds:.0f} s: {_counts(statuses)}")
    faults = [(status, content[:300]) for status, content in answers if status.startswith("5")]
    assert not faults, faults[:10]
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert statuses["no answer"] < count / 5


async def _send_all(port: int, mutants: HttpMutants, chance: random.Random, count: int) -> list[tuple[str, bytes]]:
    """Send requests, each over a connection of its own; returns status and content of each."""
    room = asyncio.Semaphore(WINDOW)

    async def one(content: bytes) -> tuple[str, bytes]:
        async with room:
            return await _send(port, content), content

    return await asyncio.gather(*(one(mutants.bytes_of(chance)) for _ in range(count)))


PATIENCE_S = 0.5


async def _send(port: int, content: bytes) -> str:
    """The status that is answered; a request that is no whole one is ended when nothing comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(content)
        await writer.drain()
        try:
            async with asyncio.timeout(PATIENCE_S):
                line = await reader.readline()
        except TimeoutError:
            writer.write_eof()
            async with asyncio.timeout(60):
                line = await reader.readline()
    except ConnectionError:
        return "no answer"
    finally:
        writer.close()
    return line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "no answer"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} x {name}" for name, count in sorted(counts.items()))
