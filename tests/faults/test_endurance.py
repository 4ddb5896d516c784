"""Row 9: very many requests and a very long video; what server and gateway hold does not grow."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.gateway import memory_mib
from mien import ClientSettings, EmotionClient
from mien.channel import open_channel
from mien.contract import EMOTION, EMOTION_PREPROCESS, MAX_BATCH_SIZE
from mien.inference import CallContext, infer_requests
from tests.faults.pictures import PICTURE, film
from tests.gateways import running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import grpc

    from tests.conftest import MakeServer
    from tests.faults.conftest import Figures, Scale
    from tests.gateways import RunningGateway

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.fault(9)]

IN_FLIGHT = 16
MAX_GROWTH_MIB = 20.0
INFER = "/inference.GRPCInferenceService/ModelInfer"


def ask(endpoint: str, count: int) -> None:
    """Send `count` requests, `IN_FLIGHT` at a time; every other one asks for the preprocessing alone, which takes less.

    Their bytes are made once: the caller is not tested.

    Raises:
        grpc.RpcError: one was not answered.
    """
    contents = [
        request.SerializeToString()
        for spec in (EMOTION, replace(EMOTION, name=EMOTION_PREPROCESS.name, members=(EMOTION_PREPROCESS,)))
        for request in infer_requests(spec.input.zeros(1), CallContext.create(), model=spec.name, version="", spec=spec)
    ]
    room = threading.Semaphore(IN_FLIGHT)
    failed: list[grpc.Future] = []

    def done(call: grpc.Future) -> None:
        if call.exception() is not None:
            failed.append(call)
        room.release()

    with open_channel(ClientSettings(endpoints=endpoint)) as channel:
        infer = channel.unary_unary(INFER)
        for content in islice(cycle(contents), count):
            room.acquire()
            infer.future(content, timeout=60).add_done_callback(done)
            if failed:
                break
        for _ in range(IN_FLIGHT):
            room.acquire()
    if failed:
        failed[0].result()


def fill(endpoint: str) -> None:
    """Have each instance answer its largest batch, for which it takes the most memory that it ever needs."""
    with EmotionClient(endpoint) as client, ThreadPoolExecutor(IN_FLIGHT) as callers:
        batch = EMOTION.input.zeros(MAX_BATCH_SIZE)
        for _ in callers.map(lambda _: client.classify(batch, deadline_s=60), range(2 * IN_FLIGHT)):
            pass


def post(gateway: RunningGateway, count: int) -> None:
    """Post the same picture `count` times."""
    with gateway.client() as http, ThreadPoolExecutor(IN_FLIGHT) as callers:
        for answer in callers.map(lambda _: http.post("/v1/detect", files={"image": PICTURE}), range(count)):
            answer.raise_for_status()


@pytest.mark.timeout(900)
def test_memory_stays_over_many_requests_and_a_long_video(
    make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    requests, pictures, frames = scale.of(96_000, 2_000), scale.of(4_000, 200), scale.of(10_000, 300)
    settings = {"DETECT_PER_MINUTE": "10000000", "MAX_VIDEO_FRAMES": str(frames), "VIDEO_WAIT_S": "600"}
    folder = tmp_path / "gateway"
    folder.mkdir()
    begin = time.monotonic()
    with (
        make_server(tmp_path / "state") as server,
        running_gateway(server.endpoint, folder, **settings) as gateway,
        gateway.client() as http,
    ):
        pids = {"server": server.process_id, "gateway": gateway.process.pid}

        def memory() -> dict[str, float]:
            return {name: memory_mib(pid) for name, pid in pids.items()}

        def analyse(content: bytes) -> int:
            answer = http.post(
                "/v1/detect-video", files={"video": ("film.mp4", content)}, data={"frame_rate": "25"}, timeout=600
            )
            return int(answer.raise_for_status().json()["summary"]["faces_detected"])

        # Warm: every buffer, arena and worker has been used.
        steps: list[tuple[str, Callable[[], object]]] = [
            (f"{requests:,} requests", lambda: ask(server.endpoint, requests)),
            (f"{pictures:,} pictures", lambda: post(gateway, pictures)),
            (f"a video of {frames:,} frames", lambda: analyse(film(tmp_path, frames))),
        ]
        fill(server.endpoint)
        ask(server.endpoint, requests // 20)
        post(gateway, pictures // 20)
        assert analyse(film(tmp_path, 100)) == 100
        warm = memory()
        growth: dict[str, float] = {}
        for what, step in steps:
            step()
            growth = {name: mib - warm[name] for name, mib in memory().items()}
            print(f"after {what}: {growth}, {time.monotonic() - begin:.0f} s")
    names = ", ".join(f"{name} {warm[name]:.0f} MiB {mib:+.1f}" for name, mib in growth.items())
    figures.add(
        f"{requests:,} requests, half of them for the preprocessing alone, {pictures:,} pictures and a video of"
        f" {frames:,} frames: {names} (private memory of each with its children, since it was warm)"
    )
    assert max(growth.values()) < MAX_GROWTH_MIB
