"""A release's manifest: which files it is made of, what made them, and how good it is."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mien.contract import EnsembleSpec

SCHEMA = 1
"""Version of the manifest's format."""

_PACKAGES = ("keras", "numpy", "onnx", "onnxruntime", "tensorflow", "tensorflow-cpu", "tf2onnx", "jax", "torch")
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DatasetReference:
    """The data a model was trained on: its name, and its digest where it is known."""

    name: str
    digest: str | None = None


def build_manifest(
    ensemble: EnsembleSpec,
    release: int,
    files: Mapping[str, str],
    *,
    dataset: DatasetReference,
    metrics: Mapping[str, Any],
    created_by: str,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of `release` as JSON values; `files` maps each path to its SHA-256.

    Paths are relative to the model repository's root.
    """
    return {
        "schema": SCHEMA,
        "ensemble": ensemble.name,
        "release": release,
        "members": {member.name: release for member in ensemble.members},
        "twins": {twin.name: release for twin in ensemble.twins},
        "files": dict(sorted(files.items())),
        "labels": list(ensemble.labels),
        "dataset": {"name": dataset.name, "digest": dataset.digest},
        "metrics": dict(metrics),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_by": created_by,
        "provenance": dict(provenance),
    }


def save_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Write `manifest` as indented JSON."""
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def digest_files(root: Path, directories: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file in `directories`, by its path relative to `root`."""
    files = (file for directory in directories for file in sorted(directory.rglob("*")) if file.is_file())
    return {file.relative_to(root).as_posix(): sha256(file) for file in files}


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def environment() -> dict[str, Any]:
    """Code revision, Python and package versions: what a run is made again from."""
    return {"revision": code_revision(), "python": platform.python_version(), "packages": package_versions()}


def code_revision() -> str | None:
    """Commit of the checkout this code runs from, with ``+changes`` if files differ; None outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "training", "clients")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changed else commit


def package_versions() -> dict[str, str]:
    """Version of each installed package that can change a result."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_CHECKOUT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
