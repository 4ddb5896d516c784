"""What a worker process may take of the machine's memory, and how it gives back what it no longer needs."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path


def limit(size: int) -> None:
    """Make allocations beyond `size` bytes fail in this process (RLIMIT_DATA).

    RLIMIT_AS would also count what is only reserved, of which OpenCV and NumPy take a lot.
    """
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def resident() -> int:
    """Bytes of this process that are in memory now; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def trim() -> None:
    """Give memory that nothing in this process refers to back to the system.

    glibc keeps what it expects to need again: after a picture of 49 million pixels some 60 MiB.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
