"""What the gateway costs: pictures over REST against the same pictures through the SDK, with 16 callers each.

    python -m benchmarks.gateway --rounds 5 --seconds 4
    python -m benchmarks.gateway --soak 10000

Both call one Triton. The SDK decodes and detects in this process (threads and asyncio, the better one counts), the
gateway in its workers; the callers' side of HTTP runs in this process. Every round measures all of them in turn; the
ratio is taken within a round and shown as median (least-most). With `--soak` it shows instead what memory the gateway
and its workers hold over that many pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from PIL import Image

from benchmarks.measure import Spread, async_throughput, throughput
from mien import AsyncEmotionClient, ClientSettings, EmotionClient
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORTRAIT = Path(__file__).parents[1] / "docs/portraits/astronaut.jpg"
HEAD = (120, 10, 330, 220)
CALLERS = 16
START_S = 60.0
BOUNDARY = b"benchmark"


class RestCaller:
    """Posts pictures over one kept connection a thread."""

    def __init__(self, port: int, pictures: list[bytes]) -> None:
        self._port = port
        self._bodies = cycle([_form(picture) for picture in pictures])
        self._local = threading.local()

    def __call__(self) -> object:
        """Post the next picture; returns the answer."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection: http.client.HTTPConnection = self._local.connection
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
        connection.request("POST", "/v1/detect", next(self._bodies), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"The gateway answered {answer.status}: {content}")
        return content


def _form(picture: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="image"; filename="picture.jpg"\r\n\r\n'
    return b"--%b\r\n%b%b\r\n--%b--\r\n" % (BOUNDARY, head, picture, BOUNDARY)


def head(side: int) -> bytes:
    """A portrait that its face fills, as a JPEG of `side` x `side` pixels."""
    file = io.BytesIO()
    with Image.open(PORTRAIT) as portrait:
        portrait.crop(HEAD).resize((side, side)).save(file, "JPEG", quality=90)
    return file.getvalue()


@contextmanager
def running_gateway(endpoint: str, state: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway of its own process, without limits of rate."""
    environment = os.environ | {
        "MIEN_ENDPOINTS": endpoint,
        "MIEN_GATEWAY_PORT": str(port),
        "MIEN_GATEWAY_SPOOL": str(state / "spool"),
        "MIEN_GATEWAY_DETECT_PER_MINUTE": "100000000",
        "MIEN_GATEWAY_DETECT_VIDEO_PER_MINUTE": "100000000",
    }
    with (state / "gateway.log").open("wb") as log:
        command = [sys.executable, "-m", "mien.gateway"]
        with subprocess.Popen(command, env=environment, stderr=log) as process:
            try:
                _wait_ready(port, process)
                yield process
            finally:
                process.terminate()


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError("The gateway did not become ready.")


def memory_mib(pid: int) -> float:
    """Private memory of a process and all that it started, in MiB."""
    process = psutil.Process(pid)
    size = process.memory_full_info().uss
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it may end meanwhile, as a video's process does
            size += child.memory_full_info().uss
    return float(size / 2**20)


def soak(call: Callable[[], object], pid: int, count: int) -> None:
    """Call `count` times with all callers, and print the memory at the start, after a tenth and at the end."""
    done = 0
    with ThreadPoolExecutor(CALLERS) as callers:
        for mark in (CALLERS, count // 10, count):
            for _ in callers.map(lambda _: call(), range(mark - done)):
                pass
            done = mark
            print(f"after {done:6} pictures: gateway and workers {memory_mib(pid):.1f} MiB", flush=True)


def sdk_throughput(settings: ClientSettings, pictures: list[bytes], seconds: float) -> float:
    """Pictures a second of the SDK alone: the better of threads and asyncio."""
    endless = cycle(pictures)
    with EmotionClient(settings) as client:
        by_threads = throughput(lambda: client.recognize(next(endless)), CALLERS, seconds)

    async def run() -> float:
        async with AsyncEmotionClient(settings) as client:
            return await async_throughput(lambda: client.recognize(next(endless)), CALLERS, seconds)

    return max(by_threads, asyncio.run(run()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    parser.add_argument("--soak", type=int, metavar="PICTURES", help="show the memory over that many, and no speed")
    parser.add_argument("--port", type=int, default=18480, help="of the gateway that is started")
    options = parser.parse_args()
    pictures = [head(side) for side in (240, 350, 500)]
    sdk, rest = [], []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with TritonServer(settings) as server, running_gateway(server.endpoint, state, options.port) as gateway:
            if options.soak:
                soak(RestCaller(options.port, pictures), gateway.pid, options.soak)
                return
            client_settings = ClientSettings(endpoints=server.endpoint, deadline_s=60)
            for _ in range(options.rounds):
                sdk.append(sdk_throughput(client_settings, pictures, options.seconds))
                rest.append(throughput(RestCaller(options.port, pictures), CALLERS, options.seconds))
    ratio = Spread.of([ours / theirs for ours, theirs in zip(rest, sdk, strict=True)])
    print(f"{CALLERS} callers, {len(pictures)} portraits, {os.cpu_count()} processors")
    print(f"SDK      {Spread.of(sdk).text(' pictures/s')}")
    print(f"gateway  {Spread.of(rest).text(' pictures/s')}")
    print(f"ratio    {ratio.text()}")


if __name__ == "__main__":
    main()
