"""What docs/contract.md tells services in other languages, run against the real server."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, json_format
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc

from mien.contract import EMOTION

if TYPE_CHECKING:
    from serving.server import TritonServer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
DEBIAN_GO_PACKAGES = Path("/usr/share/gocode")

needs_protoc = pytest.mark.skipif(not shutil.which("protoc"), reason="protoc is missing: make system-deps")
needs_go = pytest.mark.skipif(
    not (shutil.which("go") and shutil.which("protoc-gen-go") and DEBIAN_GO_PACKAGES.is_dir()),
    reason="Go with Debian's gRPC packages is missing: make system-deps",
)
needs_grpcurl = pytest.mark.skipif(not shutil.which("grpcurl"), reason="grpcurl is missing; no registry of ours has it")


@pytest.fixture
def face(tmp_path: Path) -> Path:
    picture = tmp_path / "face.png"
    with Image.open(ROOT / "docs/portraits/astronaut.jpg") as portrait:
        portrait.crop((170, 60, 275, 165)).save(picture)
    return picture


@needs_protoc
def test_the_proto_file_agrees_with_tritons_own(tmp_path: Path) -> None:
    compiled = tmp_path / "set.bin"
    subprocess.run(["protoc", f"-I{EXAMPLES}", "predict_v2.proto", f"-o{compiled}"], check=True)
    ours = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file[0]
    theirs = descriptor_pb2.FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(theirs)
    assert ours.package == theirs.package
    assert {method.name for service in ours.service for method in service.method} == {"ModelReady", "ModelInfer"}
    assert fields(ours.message_type) <= fields(theirs.message_type)


def fields(messages: object, prefix: str = "") -> set[tuple[str, str, int, int, int]]:
    """(message, field, number, type, label) of every field, nested messages included."""
    found: set[tuple[str, str, int, int, int]] = set()
    for message in messages:  # type: ignore[attr-defined]
        name = f"{prefix}{message.name}"
        found |= {(name, field.name, field.number, field.type, field.label) for field in message.field}
        found |= fields(message.nested_type, f"{name}.")
    return found


@pytest.mark.integration
@needs_go
def test_the_go_example_builds_and_names_an_emotion(triton: TritonServer, face: Path, tmp_path: Path) -> None:
    sources = tmp_path / "src"
    package = sources / "mien.example/classify"
    package.mkdir(parents=True)
    shutil.copy(EXAMPLES / "go/main.go", package)
    subprocess.run(["protoc", f"-I{EXAMPLES}", f"--go_out=plugins=grpc:{sources}", "predict_v2.proto"], check=True)
    # Debian ships Go's libraries as a GOPATH, so nothing is fetched.
    environment = os.environ | {
        "GOPATH": f"{tmp_path}:{DEBIAN_GO_PACKAGES}",
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOCACHE": str(tmp_path / "cache"),
    }
    program = tmp_path / "classify"
    subprocess.run(["go", "build", "-o", program, "mien.example/classify"], check=True, env=environment)
    answer = subprocess.run([program, triton.endpoint, face], check=True, capture_output=True, text=True).stdout
    release, *lines = answer.splitlines()
    assert release == "release 1"
    probabilities = {line.split(":")[2]: float(line.split(":")[0]) for line in lines}
    assert set(probabilities) == set(EMOTION.labels)
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert max(probabilities, key=probabilities.__getitem__) == "happy"


def documented_request(face: Path) -> str:
    """The JSON that docs/contract.md gives to grpcurl, with the picture's pixels in its place."""
    command = re.search(r"printf '(\{.*?\})'", (ROOT / "docs/contract.md").read_text(), re.DOTALL)
    assert command, "docs/contract.md no longer has the grpcurl example"
    with Image.open(face) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((96, 96)))
    return command[1].replace("%s", base64.b64encode(pixels.tobytes()).decode())


@pytest.mark.integration
def test_the_documented_json_is_a_request_the_server_answers(triton: TritonServer, face: Path) -> None:
    request = json_format.Parse(documented_request(face), service_pb2.ModelInferRequest())
    with grpc.insecure_channel(triton.endpoint) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    probabilities = np.frombuffer(answer.raw_output_contents[0], np.float32)
    assert EMOTION.labels[probabilities.argmax()] == "happy"


@pytest.mark.integration
@needs_grpcurl
def test_grpcurl_understands_the_documented_command(triton: TritonServer, face: Path) -> None:
    call = ["grpcurl", "-plaintext", "-import-path", EXAMPLES, "-proto", "predict_v2.proto", "-d", "@"]
    answer = subprocess.run(
        [*call, triton.endpoint, "inference.GRPCInferenceService/ModelInfer"],
        input=documented_request(face), check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(answer.stdout)["modelVersion"] == "1"
