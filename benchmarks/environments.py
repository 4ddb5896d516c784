"""Environments for what must not share ours: locked uv projects in `peers/environments`, made when needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mien.errors import MienError

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECTS = Path(__file__).parent / "peers/environments"


class EnvironmentMissingError(MienError):
    """An environment cannot be made, or lacks something of the system."""


def environment(name: str) -> Path:
    """The environment of one project, in step with its lock: a folder with ``bin`` in it.

    Raises:
        EnvironmentMissingError: uv is not there or cannot install it.
    """
    folder = CHECKOUT / ".venv-bench" / name
    uv = os.environ.get("UV", str(CHECKOUT / ".tools/uv"))
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    variables = os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder), "UV_PYTHON": str(python)}
    command = [uv, "sync", "--quiet", "--locked", "--project", str(PROJECTS / name)]
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EnvironmentMissingError(
            f"{uv} cannot be run ({error.strerror}). `make bench` brings it along."
        ) from error
    if done.returncode:
        raise EnvironmentMissingError(f"The environment {name!r} cannot be installed: {done.stderr.strip()[-500:]}")
    return folder


def versions(folder: Path, *packages: str) -> str:
    """Versions of packages in an environment, such as ``mlserver 1.7.1``."""
    program = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    done = subprocess.run([folder / "bin/python", "-c", program, *packages], check=True, capture_output=True, text=True)
    return done.stdout.strip()
