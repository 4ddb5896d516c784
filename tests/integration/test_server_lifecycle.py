"""Starting, stopping and healing a real Triton, and what is left of it when something is killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from serving import PortTakenError, ServerStartError, TritonServer
from serving.record import read_record
from serving.stubs import living_stubs
from tests.lifecycle import answers, leftovers, token_of, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeServer, WaitUntil
    from tests.faults.conftest import Figures

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def foreground(state: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m serving` as a person starts it; ready inside."""
    environment = os.environ | {"MIEN_STATE": str(state), "MIEN_GRPC_PORT": "0", "MIEN_METRICS_PORT": "0"} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "serving"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        else:
            pytest.fail("the server did not start")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_server_answers_and_leaves_nothing(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(tmp_path)
    with server:
        token = token_of(server.settings)
        assert answers(server)
        assert leftovers(token)
        assert server.is_alive
        assert server.releases["emotion"].release == 1
    assert not server.is_alive
    assert not leftovers(token)
    assert not server.settings.record_path.exists()


def test_state_is_private(triton: TritonServer) -> None:
    assert triton.settings.record_path.stat().st_mode & 0o077 == 0
    assert triton.log_path.parent.stat().st_mode & 0o077 == 0


def test_restart_keeps_the_endpoint(make_server: MakeServer, tmp_path: Path) -> None:
    with make_server(tmp_path) as server:
        endpoint, key = server.endpoint, server.admin_key
        server.restart()
        assert answers(server)
        assert (server.endpoint, server.admin_key) == (endpoint, key)


@pytest.mark.fault(3)
def test_killed_stub_heals(make_server: MakeServer, tmp_path: Path, wait_until: WaitUntil, figures: Figures) -> None:
    healed_s = []
    with make_server(tmp_path) as server, watched(server):
        before = living_stubs(server.process_id)
        process_id = server.process_id
        for model in sorted({stub.model for stub in before}):
            wait_until(lambda: answers(server))
            # A heal replaces all stubs of its model, so those of the start are looked up anew.
            stub = next(stub for stub in living_stubs(server.process_id) if stub.model == model)
            os.kill(stub.process_id, signal.SIGKILL)
            begin = time.monotonic()
            for _ in range(3):  # one that the dead instance keeps would keep its living sibling too
                answers(server)
            wait_until(lambda dead=stub: dead not in living_stubs(server.process_id), timeout_s=60)
            wait_until(lambda: len(living_stubs(server.process_id)) == len(before) and answers(server), timeout_s=60)
            healed_s.append(time.monotonic() - begin)
        figures.add(f"stub of each of {len(healed_s)} models: all instances answer after {max(healed_s):.1f} s at most")
        assert server.process_id == process_id
        token = token_of(server.settings)
    assert not leftovers(token)


@pytest.mark.fault(3)
def test_killed_server_comes_back(
    make_server: MakeServer, tmp_path: Path, wait_until: WaitUntil, figures: Figures
) -> None:
    with make_server(tmp_path) as server, watched(server):
        token, process_id = token_of(server.settings), server.process_id
        os.kill(process_id, signal.SIGKILL)
        begin = time.monotonic()
        wait_until(lambda: server.process_id != process_id and answers(server))
        figures.add(f"server: answers again after {time.monotonic() - begin:.1f} s, nothing of the old one is left")
        assert not leftovers(token)
        token = token_of(server.settings)
    assert not leftovers(token)


@pytest.mark.fault(3)
@pytest.mark.parametrize("whose_server", ["stops", "is-killed-too"])
def test_killed_supervisor_leaves_nothing(
    local_triton: None, tmp_path: Path, wait_until: WaitUntil, figures: Figures, whose_server: str
) -> None:
    with foreground(tmp_path) as process:
        record = read_record(tmp_path / "server.json")
        assert record
        assert leftovers(record.token)
        (keeper,) = psutil.Process(process.pid).children()
        (server,) = keeper.children()
        process.kill()
        if whose_server == "is-killed-too":
            server.kill()
        begin = time.monotonic()
        wait_until(lambda: not leftovers(record.token))
        seconds = time.monotonic() - begin
        figures.add(
            f"supervisor, whose server {whose_server.replace('-', ' ')}: no process and no shared memory is left after"
            f" {seconds:.1f} s"
        )


def test_newer_start_clears_what_an_older_one_left(
    local_triton: None, make_server: MakeServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with foreground(tmp_path) as process:
        record = read_record(tmp_path / "server.json")
        assert record
        keepers = psutil.Process(process.pid).children()
        process.kill()
        for keeper in keepers:
            keeper.kill()
        psutil.wait_procs(keepers)
    assert leftovers(record.token), "without supervisor and keeper the server stays, or this test shows nothing"
    with make_server(tmp_path) as server:
        assert not leftovers(record.token)
        assert answers(server)


def test_second_server_on_one_state_folder_is_refused(triton: TritonServer) -> None:
    with pytest.raises(ServerStartError, match=f"already runs on .* at {triton.endpoint}.*MIEN_STATE"):
        TritonServer(triton.settings).start()
    assert answers(triton)


def test_taken_port_names_port_holder_and_setting(make_server: MakeServer, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Port {port} is taken by .*{os.getpid()}.*MIEN_METRICS_PORT"):
            make_server(tmp_path, metrics_port=port).start()


def test_model_that_does_not_load_is_named(make_server: MakeServer, tmp_path: Path) -> None:
    """The digests are right and the graph is not: only the server can find that."""
    server = make_server(tmp_path, shipped_repository=tmp_path / "shipped")
    shutil.copytree(make_server(tmp_path).settings.shipped_repository, tmp_path / "shipped")
    graph = tmp_path / "shipped" / "emotion_classifier" / "1" / "model.onnx"
    graph.write_bytes(b"not a graph")
    manifest = tmp_path / "shipped" / "emotion" / "1" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["emotion_classifier/1/model.onnx"] = hashlib.sha256(graph.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))
    with pytest.raises(ServerStartError, match="emotion_classifier"), server:
        pass


def test_foreground_command_stops_with_one_ctrl_c(local_triton: None, tmp_path: Path) -> None:
    with foreground(tmp_path) as process:
        record = read_record(tmp_path / "server.json")
        assert record
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert "Stopped." in output
    assert process.returncode == 0
    assert not leftovers(record.token)


def test_commands_for_the_running_server(triton: TritonServer) -> None:
    def serving(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "serving", *arguments],
            cwd=ROOT,
            env=os.environ | {"MIEN_STATE": str(triton.settings.state)},
            capture_output=True,
            text=True,
            check=False,
        )

    verified = serving("verify")
    assert (verified.returncode, "emotion release 1" in verified.stdout) == (0, True), verified
    unknown = serving("load", "nonesuch")
    assert unknown.returncode == 6
    assert "did not load nonesuch" in unknown.stderr
    assert "Traceback" not in unknown.stderr
