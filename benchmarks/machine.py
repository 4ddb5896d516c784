"""What figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil


def machine() -> dict[str, str]:
    """Date, processors and memory, and the software that matters."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory_gib = psutil.virtual_memory().total / 2**30
    name = cpu[1] if cpu else platform.processor()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {name}, {memory_gib:.0f} GiB, {platform.system()}",
        "software": ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime", "grpcio", "tritonclient")),
    }
