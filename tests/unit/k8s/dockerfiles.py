"""A Dockerfile read as stages of steps, and its steps done in a folder instead of a container."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

DOCKERFILE = ROOT / "k8s" / "images" / "Dockerfile"
WORKDIR = "/app"

# Root's work, on the image's own accounts.
NOT_HERE = ("groupadd",)


@dataclass
class Stage:
    """A stage: what it begins with, and its steps as (instruction, rest of the line)."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages() -> dict[str, Stage]:
    """Stages of the Dockerfile by name."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name] = Stage(base)
        else:
            stage.steps.append((instruction, rest.strip()))
    return found


def images() -> list[str]:
    """Names of the stages that are images: they begin, at last, with `runtime`."""
    all_stages = stages()

    def runs(name: str) -> bool:
        return name == "runtime" or (name in all_stages and runs(all_stages[name].base))

    return [name for name in all_stages if name != "runtime" and runs(name)]


class Builder:
    """Does the steps of stages, each in a folder of its own below `folder`, and each stage once.

    Packages come from the cache of uv as on any machine; what a step may write is its folder.
    """

    def __init__(self, folder: Path, **arguments: str) -> None:
        self._folder = folder
        self._stages = stages()
        self._arguments = arguments

    def build(self, name: str) -> Path:
        """The folder that stands for ``/app`` of a stage."""
        folder = self._folder / name
        if folder.exists():
            return folder
        stage = self._stages[name]
        if stage.base in self._stages:
            shutil.copytree(self.build(stage.base), folder, symlinks=True, copy_function=os.link)
        else:
            folder.mkdir(parents=True)
        for instruction, rest in stage.steps:
            if instruction == "COPY":
                self._copy(rest, folder)
            elif instruction == "RUN" and not rest.startswith(NOT_HERE):
                self._run(rest, folder)
        return folder

    def _copy(self, rest: str, folder: Path) -> None:
        stage = re.match(r"--from=(\S+) (.*)", rest)
        source = self.build(stage[1]) if stage else ROOT
        *paths, target = (stage[2] if stage else rest).split()
        for path in paths:
            here = source / path.removeprefix(f"{WORKDIR}/")
            there = folder / target / here.name if target.endswith("/") else folder / target
            there.parent.mkdir(parents=True, exist_ok=True)
            if stage:  # an environment: large, and only read from here on
                if there.is_symlink():
                    there.unlink()
                elif there.is_dir():
                    shutil.rmtree(there)
                there.symlink_to(here)
            elif here.is_dir():
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
            else:
                shutil.copy2(here, there)

    def _run(self, rest: str, folder: Path) -> None:
        command = re.sub(r"--mount=\S+\s+", "", rest)
        base = Path(sys.base_prefix) / "bin"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("MIEN_", "PYTHON", "VIRTUAL_ENV"))
        }
        environment |= {
            "PATH": f"{base}:{os.environ['PATH']}",
            "UV_PYTHON": str(base / f"python3.{sys.version_info.minor}"),
            "UV_PROJECT_ENVIRONMENT": ".venv",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", command],
            cwd=folder,
            env=environment | {"YUNET_URL": ""} | self._arguments,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"


def run_in_image(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What a command prints that starts in an image's ``/app``, with nothing of this checkout around it."""
    environment = {"PATH": f"{folder}/.venv/bin:/usr/bin:/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
