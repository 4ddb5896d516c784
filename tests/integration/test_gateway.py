"""Pictures through a real gateway and a real Triton."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
import trustme
from PIL import Image

from mien import EmotionClient
from mien.contract import EMOTION_LABELS
from mien.gateway.app import create_app
from mien.gateway.keys import KeyFile
from mien.gateway.settings import GatewaySettings
from mien.settings import YUNET_FILE, ClientSettings
from tests.gateways import DEADLINE_S, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving import TritonServer
    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

PORTRAIT = Path(__file__).parents[2] / "docs/portraits/astronaut.jpg"
HEAD = (120, 10, 330, 220)
DAMAGED = 240


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def encoded(kind: str, side: int = 210, **options: object) -> bytes:
    """The head of the portrait as a file of that kind."""
    file = io.BytesIO()
    with Image.open(PORTRAIT) as portrait:
        portrait.crop(HEAD).resize((side, side)).save(file, kind, **options)
    return file.getvalue()


def post(client: httpx.Client, content: bytes, path: str = "/v1/detect", **headers: str) -> httpx.Response:
    return client.post(path, files={"image": ("picture", content)}, headers=headers)


def test_the_references_request_gets_its_fields_and_more(client: httpx.Client, triton: TritonServer) -> None:
    answer = post(client, PORTRAIT.read_bytes(), "/detect").json()
    assert answer["emotion"] == "happy"
    assert set(answer["face_location"]) == {"x", "y", "width", "height"}
    (face,) = answer["faces"]
    assert answer["confidence"] == face["confidence"] == face["probabilities"]["happy"]
    assert list(face["probabilities"]) == list(EMOTION_LABELS)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert face["model_version"] == "1"

    with EmotionClient(ClientSettings(endpoints=triton.endpoint, detector="haar", deadline_s=DEADLINE_S)) as sdk:
        (same,) = sdk.recognize(PORTRAIT).faces
    assert face["confidence"] == pytest.approx(same.emotion.confidence, abs=1e-5)
    assert face["box"]["x"] == pytest.approx(same.face.box.x, abs=0.1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_kind_of_picture_is_read(client: httpx.Client, kind: str) -> None:
    assert post(client, encoded(kind)).json()["emotion"] == "happy"


def test_a_picture_without_a_face_is_answered_with_the_reason(client: httpx.Client) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")
    answer = post(client, file.getvalue())
    assert answer.status_code == 200
    assert answer.json()["faces"] == []
    assert answer.json()["reason"] == answer.json()["error"] == "No face detected"
    assert "emotion" not in answer.json()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any content."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "No image uploaded"),
        (b"x" * 5000, 415, "not a JPG, PNG or WebP"),
        (encoded("GIF"), 415, "not a JPG, PNG or WebP"),
        (encoded("BMP"), 415, "not a JPG, PNG or WebP"),
        (encoded("JPEG")[:2000], 422, "damaged"),
        (png_header(100, 100), 422, "damaged"),
        (png_header(20_000, 20_000), 413, "too large"),
        (png_header(10_000, 10_000), 413, "10000 x 10000 pixels"),
        (b"\xff\xd8\xff" + b"x" * (10 * 2**20), 413, "larger than the limit"),
    ],
    ids=["empty", "text", "gif", "bmp", "truncated", "lying", "bomb", "huge", "large"],
)
def test_what_is_no_good_picture_is_refused(client: httpx.Client, content: bytes, status: int, words: str) -> None:
    answer = post(client, content)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """`content` with a few bytes changed, a piece cut out, or its end missing."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 12)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    start = chance.randrange(len(changed))
    if chance.random() < 0.3:
        del changed[start : start + chance.randrange(1, 400)]
    if chance.random() < 0.3:
        del changed[start:]
    return bytes(changed)


def test_damaged_pictures_harm_nobody(gateway: RunningGateway, client: httpx.Client) -> None:
    """Each gets an answer or a refusal, and good ones in between always the same answer."""
    chance = random.Random(20)
    good = encoded("JPEG", 120)
    kinds = [encoded(kind, 120) for kind in ("JPEG", "PNG", "WEBP")]
    (expected,) = post(client, good).json()["faces"]
    cases = [damaged(kinds[index % 3], chance) for index in range(DAMAGED)]
    contents = [content for start in range(0, DAMAGED, 4) for content in (*cases[start : start + 4], good)]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda content: post(client, content), contents))
    statuses = Counter(answer.status_code for index, answer in enumerate(answers) if index % 5 != 4)
    print(f"\n{DAMAGED} damaged pictures: {dict(statuses)}")
    assert statuses.keys() <= {200, 400, 413, 415, 422}
    assert statuses[422] > 0
    for answer in answers[4::5]:
        (face,) = answer.json()["faces"]
        assert face["box"] == expected["box"]
        # Kernels for another batch size add in another order.
        assert face["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert "Traceback" not in gateway.log


def test_workers_that_are_killed_are_replaced(gateway: RunningGateway, client: httpx.Client) -> None:
    forkserver = [child for child in psutil.Process(gateway.process.pid).children() if child.children()]
    workers = [worker for server in forkserver for worker in server.children()]
    assert len(workers) >= 2
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, DEADLINE_S)
    assert [post(client, encoded("JPEG")).status_code for _ in range(4)] == [200] * 4


def test_metrics_and_logs_tell_of_the_traffic_without_the_picture(
    gateway: RunningGateway, client: httpx.Client
) -> None:
    answer = post(client, encoded("JPEG"), **{"X-Request-ID": "told-77"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "told-77"
    metrics = client.get("/metrics").text
    assert 'mien_predictions_total{label="happy",model="emotion",release="1"}' in metrics
    assert 'mien_gateway_requests_total{method="POST",route="/v1/detect",status="200"}' in metrics
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "told-77"]
    assert (line["route"], line["status"]) == ("/v1/detect", 200)
    assert set(line) == {
        *("event", "logger", "level", "timestamp", "request_id", "method", "route", "status"),
        "seconds",
        "key",
    }


def test_the_gateway_is_ready(client: httpx.Client) -> None:
    assert client.get("/ready").json() == {"status": "ready", "speech": True}


@pytest.mark.data
async def test_yunet_gives_landmarks(triton: TritonServer, test_data: Path, tmp_path: Path) -> None:
    yunet = test_data / "models" / YUNET_FILE
    settings = ClientSettings(endpoints=triton.endpoint, yunet_path=yunet, deadline_s=DEADLINE_S)
    app = create_app(GatewaySettings(spool=tmp_path, workers=1), settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as caller,
    ):
        answer = await caller.post("/v1/detect", files={"image": ("picture", encoded("JPEG"))})
    (face,) = answer.json()["faces"]
    assert 0.6 <= face["score"] <= 1
    assert face["landmarks"]["right_eye"][0] < face["landmarks"]["left_eye"][0]


def test_with_tls_and_keys_it_serves_those_it_knows_and_leaves_nothing_behind(
    triton: TritonServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trust = httpx.create_ssl_context(verify=False)
    authority.configure_trust(trust)
    key = KeyFile(tmp_path / "keys.json").add("phone")
    settings = {name: str(tmp_path / "server.pem") for name in ("TLS_CERTIFICATE", "TLS_KEY")}
    settings |= {"REQUIRE_KEYS": "true", "WORKERS": "1"}
    with running_gateway(triton.endpoint, tmp_path, trust=trust, **settings) as gateway:
        with gateway.client(verify=trust) as caller:
            assert post(caller, encoded("JPEG")).status_code == 401
            answer = post(caller, encoded("JPEG"), Authorization=f"Bearer {key}")
            assert answer.json()["emotion"] == "happy"
            assert "max-age" in answer.headers["strict-transport-security"]
        family = psutil.Process(gateway.process.pid).children(recursive=True)
        gateway.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(member.is_running() and member.status() != "zombie" for member in family))
    assert key not in gateway.log


def test_schemathesis_finds_no_fault(gateway: RunningGateway) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{gateway.url}/openapi.json"]
    options = [
        "--max-examples",
        "3",
        "--phases",
        "coverage,fuzzing",
        "--checks",
        checks,
        "--include-path-regex",
        "^/v1",
    ]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=gateway.folder, env=os.environ
    )
    assert done.returncode == 0, done.stdout
