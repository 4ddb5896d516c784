"""What tools for others' eyes say of the manifests, and that the README's own example works."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, skip_or_fail
from tests.unit.k8s.manifests import BUILDS, K8S, Object, build, kubectl, readme_example, rendered

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = ROOT / ".venv-checks" / "bin"


def tool(name: str) -> Path:
    """A command of the environment of checks."""
    if not (CHECKS / name).exists():
        skip_or_fail(f"{name} is not in {CHECKS}; `make k8s-check` puts it there")
    return CHECKS / name


def test_checkov_finds_nothing(tmp_path: Path) -> None:
    for name in BUILDS:
        (tmp_path / f"{name.replace('/', '-')}.yaml").write_text(rendered(K8S / name))
    arguments = ["--config-file", K8S / "checks/checkov.yaml", "--skip-download", "--output", "json", "-d", tmp_path]
    done = subprocess.run([tool("checkov"), *arguments], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    failed = [f"{one['check_id']} {one['check_name']}: {one['resource']}" for one in report["results"]["failed_checks"]]
    assert not failed
    assert report["summary"]["passed"] > 500
    assert done.returncode == 0


def test_the_readmes_example_leaves_nothing_open(tmp_path: Path) -> None:
    objects: list[Object] = build(readme_example(tmp_path))
    assert ".invalid" not in json.dumps(objects)
    assert {"ScaledObject", "Certificate"} <= {one["kind"] for one in objects}


@pytest.mark.parametrize(
    ("script", "told"),
    [(None, "not on the path"), ("echo 'Kustomize Version: v4.5.7'", "tells Kustomize Version: v4.5. Install")],
)
def test_a_kubectl_that_is_missing_or_old_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, told: str
) -> None:
    if script:
        (tmp_path / "kubectl").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        kubectl.__wrapped__()
    assert told in str(skipped.value)
