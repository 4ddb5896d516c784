from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from serving.engines import BACKENDS, DockerEngine, ServerPlan, WheelEngine, create_engine
from serving.errors import EngineError
from serving.settings import read_settings

PLAN = ServerPlan(
    repository=Path("/srv/models"),
    models=("emotion_preprocess", "emotion"),
    grpc_port=9001,
    metrics_port=9002,
    token="mien-0123456789ab",
    admin_key="sesame",
    exit_timeout_s=7,
)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The files that WheelEngine takes from the wheel, with nothing in them."""
    distribution = tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "pytriton" / "tritonserver"
    for name in (
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        "python_backend_stubs/3.11/triton_python_backend_stub",
    ):
        (distribution / name).parent.mkdir(parents=True)
        (distribution / name).touch()
    base = tmp_path / "base"
    (base / "lib").mkdir(parents=True)
    (base / "lib" / "libpython3.11.so.1.0").touch()
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {base}/bin\nversion_info = 3.11.9\n")
    return tmp_path / "venv"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that answers like the real one: no container engine runs where the tests do."""
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return command


def test_wheel_closes_every_door_but_loopback_grpc(environment: Path, tmp_path: Path) -> None:
    launch = WheelEngine(environment, tmp_path / "backends").launch(PLAN)
    assert launch.command[0].endswith("tritonserver/bin/tritonserver")
    assert set(launch.command) >= {
        "--model-repository=/srv/models",
        "--model-control-mode=explicit",
        "--load-model=emotion_preprocess",
        "--load-model=emotion",
        "--allow-http=false",
        "--grpc-address=127.0.0.1",
        "--grpc-port=9001",
        "--metrics-address=127.0.0.1",
        "--metrics-port=9002",
        "--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:mien-admin-key=sesame",
        "--backend-config=python,shm-region-prefix-name=mien-0123456789ab-",
    }
    assert "sesame" not in repr(PLAN)


def test_wheel_puts_the_backends_together_anew(environment: Path, tmp_path: Path) -> None:
    backends = tmp_path / "backends"
    (backends / "stale").mkdir(parents=True)
    WheelEngine(environment, backends).launch(PLAN)
    files = {str(path.relative_to(backends)) for path in backends.rglob("*") if path.is_file()}
    assert files == {
        "onnxruntime/model.py",
        "tensorflow/model.py",
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
    }
    assert not any(path.is_symlink() for path in backends.rglob("*"))


def test_wheel_keeps_the_callers_python_out(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/other")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/cuda")
    variables = WheelEngine(environment, tmp_path / "backends").launch(PLAN).environment
    assert variables.keys().isdisjoint({"PYTHONPATH", "VIRTUAL_ENV"})
    assert variables["PATH"].startswith(f"{environment}/bin{os.pathsep}")
    libraries = variables["LD_LIBRARY_PATH"].split(os.pathsep)
    assert libraries == [
        f"{environment}/lib/python3.11/site-packages/nvidia_pytriton.libs",
        str(tmp_path / "base" / "lib"),
        "/cuda",
    ]


def test_gpus_are_hidden_from_an_onnxruntime_without_cuda(environment: Path, tmp_path: Path) -> None:
    engine = WheelEngine(environment, tmp_path / "backends")
    assert engine.launch(PLAN).environment["CUDA_VISIBLE_DEVICES"] == ""
    provider = environment / "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    provider.parent.mkdir(parents=True)
    provider.touch()
    assert engine.launch(PLAN).environment.get("CUDA_VISIBLE_DEVICES") == os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("target", "name", "value", "complaint"),
    [
        (sys, "platform", "darwin", "runs on Linux x86-64; this is darwin"),
        (platform, "machine", lambda: "aarch64", "this is linux aarch64"),
        (platform, "libc_ver", lambda: ("glibc", "2.31"), "needs glibc 2.35.*has glibc 2.31"),
        (platform, "libc_ver", lambda: ("", ""), "needs glibc 2.35.*another C library"),
    ],
)
def test_platform_that_cannot_run_the_wheel_is_told_the_way_out(
    environment: Path, monkeypatch: pytest.MonkeyPatch, target: object, name: str, value: object, complaint: str
) -> None:
    monkeypatch.setattr(target, name, value)
    with pytest.raises(EngineError, match=rf"{complaint}.*MIEN_ENGINE=docker"):
        WheelEngine(environment, environment / "backends").check()


def test_missing_environment_is_told_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"holds no local Triton.*make install-serving"):
        WheelEngine(tmp_path / "none", tmp_path / "backends").check()


def test_python_without_a_stub_is_named(environment: Path, tmp_path: Path) -> None:
    (environment / "lib" / "python3.11").rename(environment / "lib" / "python3.13")
    with pytest.raises(EngineError, match=r"its Python \(3.13\).*3.11 or 3.12"):
        WheelEngine(environment, tmp_path / "backends").check()


def test_missing_library_is_named(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ldd` is faked: a binary that lacks its library cannot be made here without a compiler."""
    ldd = tmp_path / "bin" / "ldd"
    ldd.parent.mkdir()
    ldd.write_text("#!/bin/sh\necho '	libpython3.11.so.1.0 => not found'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ldd.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(EngineError, match=r"needs libpython3.11.so.1.0.*Debian: libpython3.11"):
        WheelEngine(environment, tmp_path / "backends").check()


def test_container_serves_the_same_repository_on_the_same_loopback_ports(docker: Path) -> None:
    engine = DockerEngine("nvcr.io/nvidia/tritonserver:26.07-py3", gpus="")
    engine.check()
    launch = engine.launch(PLAN)
    assert launch.command[:5] == ["docker", "run", "--rm", "--name", "mien-0123456789ab"]
    image = launch.command.index("nvcr.io/nvidia/tritonserver:26.07-py3")
    options, server = launch.command[:image], launch.command[image + 1 :]
    assert set(options) >= {
        "--publish=127.0.0.1:9001:8001",
        "--publish=127.0.0.1:9002:8002",
        "--volume=/srv/models:/models:ro",
        f"--volume={BACKENDS}/tensorflow:/opt/tritonserver/backends/tensorflow:ro",
        "--cap-drop=ALL",
        "--shm-size=256m",
    }
    assert "--gpus" not in options
    assert server[0] == "tritonserver"
    assert set(server) >= {
        "--model-repository=/models",
        "--grpc-port=8001",
        "--metrics-port=8002",
        "--allow-http=false",
    }
    assert launch.cleanup == ["docker", "rm", "--force", "mien-0123456789ab"]


def test_container_gets_the_gpus_asked_for() -> None:
    command = DockerEngine("image", gpus="all").launch(PLAN).command
    assert command[command.index("--gpus") + 1] == "all"


def test_missing_docker_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="Install Docker"):
        DockerEngine("image", gpus="").check()


def test_docker_that_does_not_answer_is_told(docker: Path) -> None:
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    with pytest.raises(EngineError, match="Cannot connect to the Docker daemon"):
        DockerEngine("image", gpus="").check()


def test_settings_choose_the_engine(tmp_path: Path) -> None:
    assert isinstance(create_engine(read_settings(engine="docker", state=tmp_path)), DockerEngine)
    assert isinstance(create_engine(read_settings(engine="wheel", state=tmp_path)), WheelEngine)
