"""What a large video costs those who send small pictures to the same gateway meanwhile.

    python -m benchmarks.beside_video --rounds 3

One caller sends portraits, one after the other, first alone and then while a video near the limit of 100 MB is sent and
analysed. Every round measures both in turn; the ratios are taken within a round and shown as median (least-most).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
from PIL import Image

from benchmarks.gateway import HEAD, PORTRAIT, RestCaller, head, running_gateway
from benchmarks.measure import Spread
from mien.video import VideoWriter
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

FPS = 25
FRAME = (720, 1280)
MEGABYTE = 2**20
DEADLINE_S = 600.0


def write_video(path: Path, megabytes: int) -> int:
    """A face before noise, which no codec makes small; returns its frames.

    Args:
        path: of the file.
        megabytes: that it has at least.
    """
    chance = np.random.default_rng(1)
    noise = [chance.integers(0, 255, (*FRAME, 3), np.uint8) for _ in range(5)]
    with Image.open(PORTRAIT) as portrait:
        face = np.asarray(portrait.convert("RGB").crop(HEAD).resize((400, 400)))
    frames = 0
    with VideoWriter(path, fps=FPS) as writer:
        while not path.exists() or path.stat().st_size < megabytes * MEGABYTE:
            picture = noise[frames % len(noise)].copy()
            picture[160:560, 440:840] = face
            writer.write(picture)
            frames += 1
    return frames


def latencies_s(call: Callable[[], object], is_over: Callable[[], bool]) -> list[float]:
    """Seconds of each call of one caller, until it is over."""
    durations = []
    while not is_over():
        begin = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begin)
    return durations


def analyse(port: int, video: Path, frame_rate: float) -> int:
    """Send a video and take its frames until the end; returns how many were analysed."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client, video.open("rb") as file:
        request = client.build_request(
            "POST",
            "/v1/detect-video",
            headers={"Accept": "application/x-ndjson"},
            files={"video": (video.name, file)},
            data={"frame_rate": str(frame_rate)},
        )
        *_, last = client.send(request).raise_for_status().iter_lines()
    frames: int = json.loads(last)["summary"]["total_frames"]
    return frames


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="for the measurement without a video")
    parser.add_argument("--megabytes", type=int, default=92, help="of the video")
    parser.add_argument("--frame-rate", type=float, default=2.0, help="frames of the video analysed a second")
    parser.add_argument("--port", type=int, default=18482, help="of the gateway that is started")
    options = parser.parse_args()
    alone, beside, lasted = [], [], []
    # The video is sent from a process of its own, so that it takes no time of the one that is measured.
    sender = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with sender, tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        video = state / "video.mp4"
        length_s = write_video(video, options.megabytes) / FPS
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with TritonServer(settings) as server, running_gateway(server.endpoint, state, options.port):
            call = RestCaller(options.port, [head(side) for side in (240, 350, 500)])
            call()
            for _ in range(options.rounds):
                pause = sender.submit(time.sleep, options.seconds)
                alone.append(latencies_s(call, pause.done))
                begin = time.monotonic()
                frames = sender.submit(analyse, options.port, video, options.frame_rate)
                beside.append(latencies_s(call, frames.done))
                lasted.append(time.monotonic() - begin)
        size = video.stat().st_size / MEGABYTE
    print(
        f"1 caller, portraits, {os.cpu_count()} processors; video: {size:.0f} MiB, {length_s:.0f} s of "
        f"{FRAME[1]} x {FRAME[0]}, {frames.result()} frames analysed in {Spread.of(lasted).text(' s')}"
    )
    for name, quantile in (("median", statistics.median), ("p99", _p99)):
        with_none, with_video = [quantile(times) * 1e3 for times in alone], [quantile(times) * 1e3 for times in beside]
        ratio = Spread.of([ours / theirs for ours, theirs in zip(with_video, with_none, strict=True)])
        print(
            f"{name:7} alone {Spread.of(with_none).text(' ms')}, beside the video {Spread.of(with_video).text(' ms')}, "
            f"ratio {ratio.text()}"
        )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


if __name__ == "__main__":
    main()
