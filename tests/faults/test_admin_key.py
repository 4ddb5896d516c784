"""Row 13: every call of Triton's services without the admin key and with wrong ones; what is open stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving.engines import ADMIN_KEY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving import TritonServer
    from tests.faults.conftest import Figures

pytestmark = [pytest.mark.integration, pytest.mark.fault(13)]

SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
OPEN = {
    *("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"),
    *("ModelInfer", "ModelStreamInfer"),
}
"""What anybody may call who reaches the port; all else changes the server or tells of other callers."""

HEADER = f"triton-grpc-protocol-{ADMIN_KEY_NAME}"


def wrong_keys(key: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Headers that are nearly right."""
    yield ()
    for value in ("", "wrong", key[:-1], f"{key}x", key.swapcase(), "*", f"{key},{key}", "null"):
        yield ((HEADER, value),)
    for name in (ADMIN_KEY_NAME, "authorization", "triton-grpc-protocol-", f"x-{HEADER}", f"{HEADER}-"):
        yield ((name, key),)
    yield ((HEADER, "wrong"), (HEADER, "wrong too"))


def refusal(channel: grpc.Channel, method: str, content: bytes, metadata: tuple[tuple[str, str], ...]) -> str | None:
    """How a call is refused; None if it is answered."""
    call = channel.unary_unary(f"/{SERVICE.full_name}/{method}")
    try:
        call(content, metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return None


def test_every_call_that_is_not_open_needs_the_key(triton: TritonServer, figures: Figures) -> None:
    closed = sorted(set(SERVICE.methods_by_name) - OPEN)
    keys = list(wrong_keys(triton.admin_key))
    with grpc.insecure_channel(triton.endpoint) as channel:
        for method in closed:
            for metadata in keys:
                told = refusal(channel, method, b"", metadata)
                assert told, f"{method} was answered with {metadata}"
                assert "protocol is restricted" in told, (method, metadata, told)
        with_key = {method: refusal(channel, method, b"", ((HEADER, triton.admin_key),)) for method in closed}
    assert not [method for method, told in with_key.items() if told and "restricted" in told]
    with EmotionClient(ClientSettings(endpoints=triton.endpoint)) as client:
        assert len(client.classify(EMOTION.input.zeros(1))) == 1
    figures.add(
        f"{len(closed)} calls ({', '.join(closed)}) x {len(keys)} wrong keys: all refused; with the key all answered;"
        f" the {len(OPEN)} others are open"
    )


def test_a_load_that_brings_code_is_refused(triton: TritonServer, tmp_path: Path, figures: Figures) -> None:
    """In explicit mode a load may carry a configuration and files: whoever may load may run code."""
    proof = tmp_path / "executed"
    request = service_pb2.RepositoryModelLoadRequest(model_name="brought_along")
    request.parameters["config"].string_param = '{"backend": "python"}'
    request.parameters["file:1/model.py"].bytes_param = f"open({str(proof)!r}, 'w')".encode()
    with grpc.insecure_channel(triton.endpoint) as channel:
        for metadata in wrong_keys(triton.admin_key):
            told = refusal(channel, "RepositoryModelLoad", request.SerializeToString(), metadata)
            assert told, metadata
            assert "protocol is restricted" in told
        # That the request itself is good shows what the key is worth.
        told = refusal(channel, "RepositoryModelLoad", request.SerializeToString(), ((HEADER, triton.admin_key),))
    assert "brought_along" in (told or "")
    assert proof.exists(), told
    figures.add("a load that brings a model.py: refused without the key, nothing executed (with it, it is)")


def test_only_loopback_is_listened_on_and_only_two_ports(triton: TritonServer, figures: Figures) -> None:
    """Triton's HTTP port, which 2.51 dies of, is not there."""
    server = psutil.Process(triton.process_id)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (server, *server.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    metrics = int(triton.metrics_url.rpartition(":")[2].partition("/")[0])
    assert {ip.removeprefix("::ffff:") for ip, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening} == {int(triton.endpoint.rpartition(":")[2]), metrics}
    figures.add("listening: gRPC and metrics on 127.0.0.1, nothing else")
