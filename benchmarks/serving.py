"""What serving costs: the ensemble through the SDK against the same two graphs in ONNX Runtime, in one process.

    python -m benchmarks.serving --rounds 5 --seconds 3

Every round measures both sides in turn; ratios are taken within a round and shown as median (least-most).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Spread, async_throughput, median_latency_ms, throughput
from mien import AsyncEmotionClient, EmotionClient
from mien.contract import EMOTION, EMOTION_CLASSIFIER, FACES
from mien.errors import MienError
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1] / "model_repository"
CALLERS = 16
# Ways to run the two graphs in one process: (threads inside the classifier, calling threads).
IN_PROCESS_WAYS = ((1, 1), (1, 2), (1, CALLERS), (2, 1), (2, CALLERS))


class InProcess:
    """The ensemble's two graphs as ONNX Runtime sessions, called one after the other."""

    def __init__(self, threads: int) -> None:
        self._sessions = [
            self._session(model.name, 1 if model is EMOTION.members[0] else threads) for model in EMOTION.members
        ]

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify faces, (N, 96, 96, 3) RGB, to (N, 7) probabilities."""
        values: Any = faces
        for session, model in zip(self._sessions, EMOTION.members, strict=True):
            (values,) = session.run([model.output.name], {model.input.name: values})
        return np.asarray(values, np.float32)

    @staticmethod
    def _session(model: str, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(REPOSITORY / model / "1/model.onnx", options, ["CPUExecutionProvider"])


class Rounds:
    """Figures by name, one value a round."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> float:
        """Note one round's value."""
        self.values.setdefault(name, []).append(value)
        return value


def measure_round(
    rounds: Rounds, client: EmotionClient, endpoint: str, in_process: dict[int, InProcess], seconds: float
) -> None:
    """One round: latency of one caller, then the throughput of many, each way in turn."""
    face = np.random.default_rng(0).integers(0, 256, (1, *FACES.shape), np.uint8)

    direct = rounds.add("in process, 1 caller, p50 ms", median_latency_ms(partial(in_process[2], face), seconds))
    served = rounds.add("SDK, 1 caller, p50 ms", median_latency_ms(partial(client.classify, face), seconds))
    rounds.add("SDK - in process, p50 ms", served - direct)

    best = max(throughput(partial(in_process[threads], face), callers, seconds) for threads, callers in IN_PROCESS_WAYS)
    rounds.add("in process, best of the ways, faces/s", best)
    faces, batches = classifier_counters(client)
    many = rounds.add(f"SDK, {CALLERS} threads, faces/s", throughput(partial(client.classify, face), CALLERS, seconds))
    more_faces, more_batches = classifier_counters(client)
    rounds.add("faces per batch of the classifier meanwhile", (more_faces - faces) / (more_batches - batches))
    rounds.add(f"SDK {CALLERS} threads / in process", many / best)
    tasks = rounds.add(f"SDK, {CALLERS} tasks, faces/s", asyncio.run(many_tasks(endpoint, face, seconds)))
    rounds.add(f"SDK {CALLERS} tasks / in process", tasks / best)


async def many_tasks(endpoint: str, face: NDArray[np.uint8], seconds: float) -> float:
    """Faces per second of many tasks in one event loop."""
    async with AsyncEmotionClient(endpoint) as client:
        return await async_throughput(partial(client.classify, face), CALLERS, seconds)


def model_load_s(server: TritonServer) -> float:
    """Seconds that the server takes to load a changed classifier while the old one serves."""
    model = server.settings.model_repository / EMOTION_CLASSIFIER.name
    os.utime(next((model / "1").iterdir()))
    with server.control() as control:
        begin = time.perf_counter()
        control.load(EMOTION_CLASSIFIER.name)
        return time.perf_counter() - begin


def classifier_counters(client: EmotionClient) -> tuple[int, int]:
    """(faces, batches) that the classifier has run since its load, by Triton's own counters."""
    (classifier,) = [model for model in client.models() if model.name == EMOTION_CLASSIFIER.name]
    return classifier.inferences, classifier.executions


def resident_mib(server: TritonServer) -> dict[str, float]:
    """Resident memory by process, in MiB."""
    triton = psutil.Process(server.process_id)
    stubs = sum(child.memory_info().rss for child in triton.children(recursive=True))
    return {"tritonserver": triton.memory_info().rss / 2**20, "its two stubs": stubs / 2**20}


def client_mib(endpoint: str) -> float:
    """Resident memory of a fresh process that has classified one batch through the SDK, in MiB."""
    program = (
        "import sys, numpy, psutil, mien\n"
        "with mien.EmotionClient(sys.argv[1]) as client:\n"
        "    client.classify(numpy.zeros((64, 96, 96, 3), numpy.uint8))\n"
        "print(psutil.Process().memory_info().rss / 2**20)"
    )
    return float(subprocess.run([sys.executable, "-c", program, endpoint], check=True, capture_output=True).stdout)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory_gib = psutil.virtual_memory().total / 2**30
    name = cpu[1] if cpu else platform.processor()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {name}, {memory_gib:.0f} GiB, {platform.system()}",
        "software": ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime", "grpcio", "tritonclient")),
    }


def run(rounds: int, seconds: float, console: Console) -> dict[str, Any]:
    """Start a server of its own, measure, stop it; returns everything that the table shows."""
    figures = Rounds()
    in_process = {threads: InProcess(threads) for threads, _ in IN_PROCESS_WAYS}
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as state:
        settings = read_settings(state=Path(state), grpc_port=0, metrics_port=0)
        begin = time.perf_counter()
        with TritonServer(settings) as server, EmotionClient(server.endpoint) as client:
            figures.add("server start to first answer, s", time.perf_counter() - begin)
            for _ in track(range(rounds), "Measuring", console=console):
                measure_round(figures, client, server.endpoint, in_process, seconds)
                figures.add("model load, s", model_load_s(server))
            memory = resident_mib(server) | {"a process with the SDK": client_mib(server.endpoint)}
    return {
        **machine(),
        "settings": f"{rounds} rounds, {seconds:g} s a measurement, one face a call",
        "figures": figures.values,
        "resident MiB": memory,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table."""
    console.print(f"{result['date']} · {result['machine']}\n{result['software']}\n{result['settings']}")
    table = Table("figure", "median (least-most)")
    for name, values in result["figures"].items():
        table.add_row(name, Spread.of(values).text())
    for process, size in result["resident MiB"].items():
        table.add_row(f"memory of {process}, MiB", f"{size:.0f}")
    console.print(table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement (default 3)")
    parser.add_argument("--json", type=Path, help="also write all values here")
    arguments = parser.parse_args()
    console = Console()
    try:
        result = run(arguments.rounds, arguments.seconds, console)
    except MienError as error:
        sys.exit(f"Error: {error}")
    show(result, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
