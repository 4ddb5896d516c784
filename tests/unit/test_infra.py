"""The Terraform module, as far as it can be looked at without its provider and an account."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT, skip_or_fail

INFRA = ROOT / "infra"
CHECKOV = ROOT / ".venv-checks" / "bin" / "checkov"


def test_every_file_parses_and_checkov_finds_nothing() -> None:
    if not CHECKOV.exists():
        skip_or_fail(f"checkov is not in {CHECKOV.parent}; `make k8s-check` puts it there")
    arguments = ["--framework", "terraform", "--skip-download", "--output", "json", "-d", str(INFRA)]
    done = subprocess.run([CHECKOV, *arguments], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    results, summary = report["results"], report["summary"]
    assert not [f"{one['check_id']} {one['check_name']}: {one['resource']}" for one in results["failed_checks"]]
    assert not results["parsing_errors"]
    assert summary["resource_count"] >= len(re.findall(r"(?m)^resource ", read_all()))
    assert summary["passed"] > 150


def test_every_variable_is_used_and_every_name_leads_somewhere() -> None:
    text = read_all()
    variables = set(re.findall(r'(?m)^variable "(\w+)"', text))
    assert variables == set(re.findall(r"\bvar\.(\w+)", text))
    made = set(re.findall(r'(?m)^resource "(\w+)" "(\w+)"', text))
    named = set(re.findall(r"(?<!data\.)\b(aws_\w+)\.(\w+)", text))
    assert named <= made
    assert set(re.findall(r'(?m)^data "(\w+)" "(\w+)"', text)) == set(re.findall(r"\bdata\.(\w+)\.(\w+)", text))


def test_it_is_formatted() -> None:
    command = shutil.which("terraform") or shutil.which("tofu")
    if command is None:
        # In CI too: no registry that CI reaches has either.
        pytest.skip("neither terraform nor tofu is on the path")
    done = subprocess.run([command, "fmt", "-check", "-diff", INFRA], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def read_all() -> str:
    """Every file of the module, without comments."""
    text = "\n".join(path.read_text() for path in sorted(INFRA.glob("*.tf")))
    return re.sub(r"(?m)#.*$", "", text)
