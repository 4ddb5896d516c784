"""The wheel: what a service installs."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(ROOT, os.environ.get("UV", ".tools/uv"))

pytestmark = pytest.mark.skipif(not UV.is_file(), reason="uv is not at .tools/uv: run `make install`, or set UV")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_sdk_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mien"}
    assert {"mien/py.typed", "mien/gateway/page/index.html", "mien/gateway/page/main.js"} <= set(names)


@pytest.mark.integration
def test_a_service_gets_numpy_2_and_no_tensorflow(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([UV, "venv", "--quiet", environment], check=True)
    python = environment / "bin/python"
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python, wheel], check=True)
    program = (
        "import json, sys, importlib.metadata as metadata, mien\n"
        "client = mien.EmotionClient('127.0.0.1:1')\n"
        "installed = sorted(d.name.lower() for d in metadata.distributions())\n"
        "print(json.dumps({'numpy': metadata.version('numpy'), 'installed': installed}))"
    )
    answer = subprocess.run([python, "-I", "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)
    found = json.loads(answer.stdout)
    assert int(found["numpy"].split(".")[0]) >= 2
    assert not {"tensorflow", "tensorflow-cpu", "keras", "onnxruntime", "typer"} & set(found["installed"])

    missing = subprocess.run([environment / "bin/mien", "--help"], capture_output=True, text=True, check=False)
    assert missing.returncode != 0
    assert "mien[cli]" in missing.stderr
    assert "Traceback" not in missing.stderr
