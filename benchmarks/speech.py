"""What a window of speech costs: ``python -m benchmarks.speech`` times the shipped graphs, one thread, in process."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from mien.contract import SPEECH_EMOTION
from training.export.golden import synthetic_speech
from training.footprint import machine
from training.onnx_inference import OnnxModel

CALLS = 500
_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"


def main() -> None:
    """Print the median and the 95th percentile of each member, and of both, in milliseconds a window."""
    members = {
        member.name: OnnxModel(_REPOSITORY / member.name / "1" / "model.onnx", threads=1)
        for member in SPEECH_EMOTION.members
    }
    window = synthetic_speech(1)
    durations: dict[str, list[float]] = {name: [] for name in (*members, SPEECH_EMOTION.name)}
    for _ in range(CALLS):
        tensor, begun = window, time.perf_counter()
        for name, model in members.items():
            start = time.perf_counter()
            tensor = model(tensor)
            durations[name].append((time.perf_counter() - start) * 1e3)
        durations[SPEECH_EMOTION.name].append((time.perf_counter() - begun) * 1e3)
    print(f"One window of 3 s, one thread, {CALLS} calls; {machine()}")
    for name, taken in durations.items():
        p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
        print(f"{name:<20} p50 {statistics.median(taken):.2f} ms  p95 {p95:.2f} ms")


if __name__ == "__main__":
    main()
