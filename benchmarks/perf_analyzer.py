"""NVIDIA's perf_analyzer as a load generator that shares nothing with ours: a C++ program from tritonclient's wheel."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.environments import EnvironmentMissingError, environment

if TYPE_CHECKING:
    from pathlib import Path

STABILITY_PERCENT = 2000
"""It gives up where its windows differ by more; we take our spread from rounds."""

LEAST_WINDOW_MS = 1000
"""Slow answers may miss a shorter one altogether."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What it tells: faces a second, and the median latency of a request."""

    faces_per_s: float
    p50_ms: float


class PerfAnalyzer:
    """The program, in an environment of its own.

    Raises:
        EnvironmentMissingError: it cannot be installed, or the system lacks a library that it needs.
    """

    def __init__(self) -> None:
        folder = environment("perf_analyzer")
        self._program = folder / "bin/perf_analyzer"
        self._environment = os.environ | {"LD_LIBRARY_PATH": str(_cuda_runtime(folder))}
        listing = subprocess.run(
            ["ldd", self._program], env=self._environment, capture_output=True, text=True, check=False
        )
        if missing := [line.split()[0] for line in listing.stdout.splitlines() if line.endswith("not found")]:
            raise EnvironmentMissingError(
                f"perf_analyzer needs {', '.join(missing)}, which this machine lacks (Debian: libb64-0d)."
            )

    def measure(self, endpoint: str, callers: int, faces: int, seconds: float) -> Measured:
        """The ensemble with so many requests on their way, each of `faces` random faces.

        Raises:
            EnvironmentMissingError: it ended without a figure.
        """
        command = [
            *(str(self._program), "-m", "emotion", "-u", endpoint, "-i", "grpc", "-b", str(faces)),
            *("--concurrency-range", str(callers), "--shape", "FACES:96,96,3"),
            # Three windows make a measurement.
            *("-p", str(max(LEAST_WINDOW_MS, round(seconds * 1000 / 3))), "-r", "3", "-s", str(STABILITY_PERCENT)),
        ]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        rate = re.search(r"Throughput: ([\d.]+) infer/sec", done.stdout)
        p50 = re.search(r"p50 latency: (\d+) usec", done.stdout)
        if not rate or not p50:
            raise EnvironmentMissingError(f"perf_analyzer gave no figure: {(done.stderr or done.stdout)[-500:]}")
        return Measured(float(rate[1]), float(p50[1]) / 1000)


def _cuda_runtime(folder: Path) -> Path:
    """It is linked against CUDA's runtime, and asks for no GPU."""
    return next((folder / "lib").glob("python3.*/site-packages/nvidia/cuda_runtime/lib"), folder)
