"""Fixtures that tests of every package share: the development data and a real Triton."""

from __future__ import annotations

import inspect
import logging
import os
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from serving import EngineError, ServingSettings, TritonServer, read_settings
from serving.engines import create_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent


def skip_or_fail(reason: str) -> None:
    """Skip what this machine cannot run; in CI its absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of the development data; it holds `data/` and `models/`."""
    folder = Path(os.environ.get("MIEN_TEST_DATA", "../shared"))
    folder = folder if folder.is_absolute() else ROOT / folder
    if not (folder / "data").is_dir():
        skip_or_fail(f"the development data is not in {folder}; set MIEN_TEST_DATA to its folder")
    return folder


class MakeServer(Protocol):
    """Makes a server that has not been started; whatever a test does to it, it is gone after the test."""

    def __call__(self, state: Path, **settings: object) -> TritonServer: ...


def server_settings(state: Path, **settings: object) -> ServingSettings:
    """Settings of a server apart from every other: own state, own working copy, free ports."""
    defaults: dict[str, object] = {
        "state": state,
        "model_repository": state / "model_repository",
        "grpc_port": 0,
        "metrics_port": 0,
        "exit_timeout_s": 3,
    }
    return read_settings(**(defaults | settings))


@pytest.fixture(scope="session")
def local_triton() -> None:
    """Skip, or fail in CI, where the local Triton cannot run."""
    try:
        create_engine(read_settings()).check()
    except EngineError as error:
        skip_or_fail(str(error))


@pytest.fixture(scope="session")
def savedmodel_backend(local_triton: None) -> None:
    """Skip, or fail in CI, where the local Triton has no TensorFlow."""
    if not list(read_settings().triton_environment.glob("lib/python3.*/site-packages/tensorflow")):
        skip_or_fail("TensorFlow is not in the local Triton's environment; `make install` puts it there")


@pytest.fixture(scope="session")
def triton(local_triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One running server for all tests that leave it as they found it."""
    with TritonServer(server_settings(tmp_path_factory.mktemp("triton"))) as server:
        yield server


@pytest.fixture
def make_server(local_triton: None) -> Iterator[MakeServer]:
    """For tests that break their server."""
    with ExitStack() as stack:

        def make(state: Path, **settings: object) -> TritonServer:
            server = TritonServer(server_settings(state, **settings))
            stack.callback(server.stop)
            return server

        yield make


class WaitUntil(Protocol):
    """Waits for a condition; the test fails if it does not come true in time."""

    def __call__(self, condition: Callable[[], object], *, timeout_s: float = 30.0, every_s: float = 0.05) -> None: ...


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """`wait_until(condition)`, for what happens in another process."""

    def wait(condition: Callable[[], object], *, timeout_s: float = 30.0, every_s: float = 0.05) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s:g} s in vain for {inspect.getsource(condition).strip()}")
            time.sleep(every_s)

    return wait


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """URL of moto, a fake of S3 behind real HTTP: no true server of S3 installs wherever these tests run.

    It keeps the conditions of a write (If-Match, If-None-Match); that S3 does so under contention too, and who may do
    what there, cannot be shown with it.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # each request would be in each failure's report
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an empty bucket on the server that the environment points to."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    name = f"releases-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["folder", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty place for releases, of either kind."""
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/mien"
    folder = tmp_path / "store"
    folder.mkdir()
    return str(folder)
