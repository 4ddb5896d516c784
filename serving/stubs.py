"""The processes of Python-based backends: one stub for each model instance, a child of tritonserver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

_STUB_NAME = "triton_python_backend_stub"


@dataclass(frozen=True, slots=True)
class Stub:
    """A living stub; `version_directory` is the folder whose model it runs."""

    process_id: int
    model: str
    version: str
    version_directory: Path


def living_stubs(server_process_id: int) -> list[Stub]:
    """The stubs of the tritonserver with that process id; empty if it is gone."""
    try:
        children = psutil.Process(server_process_id).children()
    except psutil.NoSuchProcess:
        return []
    return [stub for child in children if (stub := _as_stub(child))]


def _as_stub(process: psutil.Process) -> Stub | None:
    """A stub's first argument is ``<repository>/<model>/<version>/<file>``; a dead one has no arguments any more."""
    try:
        arguments = process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
    if len(arguments) < 2 or Path(arguments[0]).name != _STUB_NAME:
        return None
    directory = Path(arguments[1]).parent
    return Stub(process.pid, directory.parent.name, directory.name, directory)
