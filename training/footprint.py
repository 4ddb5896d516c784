"""What an exported classifier costs: the file's size, its parameters, its time on one core."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.onnx_inference import OnnxModel

if TYPE_CHECKING:
    from training.classifier import Classifier

BATCH_SIZES = (1, 64)
THREADS = 1
"""One core, so that figures of machines with more of them can be compared."""


@dataclass(frozen=True)
class Latency:
    """Time of one batch, over `calls` calls one after the other, in milliseconds."""

    batch_size: int
    p50_ms: float
    p95_ms: float
    calls: int

    @property
    def faces_per_second(self) -> float:
        """Throughput of one caller."""
        return self.batch_size / self.p50_ms * 1e3


@dataclass(frozen=True)
class Footprint:
    """Size and speed of an ONNX file in ONNX Runtime on the CPU, with `threads` threads."""

    file_bytes: int
    parameters: int
    threads: int
    latency: tuple[Latency, ...]


def measure_footprint(classifier: Classifier, seconds: float = 2.0) -> Footprint:
    """Size and latency of an ONNX classifier.

    Args:
        classifier: opened from an ONNX file.
        seconds: length of each measurement.
    """
    model = OnnxModel(classifier.path, threads=THREADS)
    latency = tuple(
        _latency(model, (size, *classifier.input_shape), seconds) for size in classifier.track(BATCH_SIZES, "Timing")
    )
    return Footprint(classifier.path.stat().st_size, classifier.parameters, THREADS, latency)


def machine() -> str:
    """What a figure was measured on: cores, processor, operating system."""
    try:
        model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:  # only Linux has it
        model = None
    processor = model[1] if model else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}"


def _latency(model: OnnxModel, shape: tuple[int, ...], seconds: float) -> Latency:
    batch = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    model(batch)
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while len(durations) < 2 or time.perf_counter() < end:
        begin = time.perf_counter()
        model(batch)
        durations.append((time.perf_counter() - begin) * 1e3)
    p95 = statistics.quantiles(durations, n=20, method="inclusive")[-1]
    return Latency(len(batch), statistics.median(durations), p95, len(durations))
