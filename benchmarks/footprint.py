"""What a server takes: memory, processor time, and the time to load a model."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from mien.contract import EMOTION_CLASSIFIER
from serving.stubs import living_stubs

if TYPE_CHECKING:
    from serving.server import TritonServer


def model_load_s(server: TritonServer) -> float:
    """Seconds that the server takes to load a changed classifier while the old one serves."""
    model = server.settings.model_repository / EMOTION_CLASSIFIER.name
    newest = max((folder for folder in model.iterdir() if folder.name.isdecimal()), key=lambda path: int(path.name))
    os.utime(newest / "model.onnx")
    with server.control() as control:
        begin = time.perf_counter()
        control.load(EMOTION_CLASSIFIER.name)
        return time.perf_counter() - begin


def resident_mib(server: TritonServer) -> dict[str, float]:
    """Resident memory by process, in MiB."""
    triton = psutil.Process(server.process_id)
    stubs = sum(child.memory_info().rss for child in triton.children(recursive=True))
    return {"tritonserver": triton.memory_info().rss / 2**20, "its stubs": stubs / 2**20}


def processor_s(server: TritonServer) -> dict[str, float]:
    """Processor time so far of this process, where the callers are, of tritonserver and of each model's stubs."""
    seconds = {"the callers": time.process_time(), "tritonserver": _processor_s(server.process_id)}
    for stub in living_stubs(server.process_id):
        seconds[stub.model] = seconds.get(stub.model, 0.0) + _processor_s(stub.process_id)
    return seconds


def foreign_processor_s() -> float:
    """Processor time so far, on the whole machine, of processes that this one has not started."""
    machine, own = psutil.cpu_times(), os.times()
    mine = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            mine += times.user + times.system + times.children_user + times.children_system
    return float(machine.user + machine.nice + machine.system + machine.irq + machine.softirq - mine)


def _processor_s(process_id: int) -> float:
    times = psutil.Process(process_id).cpu_times()
    return float(times.user + times.system)


def client_mib(endpoint: str) -> float:
    """Resident memory of a fresh process that has classified one batch through the SDK, in MiB."""
    program = (
        "import sys, numpy, psutil, mien\n"
        "with mien.EmotionClient(sys.argv[1]) as client:\n"
        "    client.classify(numpy.zeros((64, 96, 96, 3), numpy.uint8))\n"
        "print(psutil.Process().memory_info().rss / 2**20)"
    )
    return float(subprocess.run([sys.executable, "-c", program, endpoint], check=True, capture_output=True).stdout)
