"""What a window of speech costs: in process with one thread, and through the server beside ONNX Runtime in process.

    python -m benchmarks.speech
    python -m benchmarks.speech --served --rounds 3 --seconds 2

Both run the shipped graphs. Ratios are taken within a round and shown as median (least-most).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import Rounds, Spread, throughput
from mien import ClientSettings, EmotionClient
from mien.contract import SPEECH_EMOTION
from serving.server import TritonServer
from serving.settings import read_settings
from training.export.golden import synthetic_speech
from training.footprint import machine
from training.onnx_inference import OnnxModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALLS = 500
WORKLOADS = ((16, 1), (4, 16))
"""(callers, windows in each call)."""

WAYS = ((1, 2), (2, 1))
"""(threads inside the graphs, threads that call) in process, of which the better counts: two processors' worth."""

_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"


def members(threads: int) -> dict[str, OnnxModel]:
    """The graphs by name, in the order in which they run."""
    return {
        member.name: OnnxModel(_REPOSITORY / member.name / "1" / "model.onnx", threads=threads)
        for member in SPEECH_EMOTION.members
    }


def run_through(models: dict[str, OnnxModel], windows: NDArray[Any]) -> NDArray[Any]:
    """(N, 48000) windows to (N, 7) probabilities, one graph after the other."""
    tensor = windows
    for model in models.values():
        tensor = model(tensor)
    return tensor


def time_members() -> None:
    """Print the median and the 95th percentile of each member, and of both, in milliseconds a window."""
    models, window = members(1), synthetic_speech(1)
    durations: dict[str, list[float]] = {name: [] for name in (*models, SPEECH_EMOTION.name)}
    for _ in range(CALLS):
        tensor, begun = window, time.perf_counter()
        for name, model in models.items():
            start = time.perf_counter()
            tensor = model(tensor)
            durations[name].append((time.perf_counter() - start) * 1e3)
        durations[SPEECH_EMOTION.name].append((time.perf_counter() - begun) * 1e3)
    print(f"One window of 3 s, one thread, {CALLS} calls; {machine()}")
    for name, taken in durations.items():
        p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
        print(f"{name:<20} p50 {statistics.median(taken):.2f} ms  p95 {p95:.2f} ms")


def time_server(rounds: int, seconds: float) -> None:
    """Print the windows a second of the server and of ONNX Runtime in process, and their ratio."""
    in_process = {threads: members(threads) for threads, _ in WAYS}
    found = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with TritonServer(settings) as server, EmotionClient(ClientSettings(endpoints=server.endpoint)) as client:
            for _ in range(rounds):
                for callers, size in WORKLOADS:
                    windows = np.repeat(synthetic_speech(1), size, axis=0)
                    limit = max(
                        throughput(partial(run_through, in_process[threads], windows), calling, seconds)
                        for threads, calling in WAYS
                    )
                    served = throughput(partial(client.classify_speech, windows), callers, seconds)
                    name = f"{callers} callers x {size}"
                    found.add(f"{name}: ONNX Runtime in process, windows/s", limit * size)
                    found.add(f"{name}: Mien, SDK, threads, windows/s", served * size)
                    found.add(f"{name}: ratio", served / limit)
    print(f"{rounds} rounds, {seconds:g} s a measurement; {machine()}")
    for name, values in found.values.items():
        print(f"{name:<50} {Spread.of(values).text()}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--served", action="store_true", help="through a server of its own, beside in process")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default 2)")
    options = parser.parse_args()
    if options.served:
        time_server(options.rounds, options.seconds)
    else:
        time_members()


if __name__ == "__main__":
    main()
