"""Videos through a real gateway and a real Triton."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image

from mien.video import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[2] / "docs/gateway.md"
PORTRAIT = Path(__file__).parents[2] / "docs/portraits/astronaut.jpg"
HEAD = (120, 10, 330, 220)
FPS, SECONDS, LONG_S = 10, 4, 30
NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A head that drifts to the right, as MP4 and AVI, and a long one."""
    folder = tmp_path_factory.mktemp("videos")
    with Image.open(PORTRAIT) as portrait:
        head = np.asarray(portrait.convert("RGB").crop(HEAD).resize((200, 200)))
    contents = {}
    for name, seconds in (("a.mp4", SECONDS), ("a.avi", SECONDS), ("long.mp4", LONG_S)):
        with VideoWriter(folder / name, FPS) as writer:
            for index in range(FPS * seconds):
                frame = np.full((240, 320, 3), 90, np.uint8)
                left = 20 + index % 60
                frame[20:220, left : left + 200] = head
                writer.write(frame)
        contents[name] = (folder / name).read_bytes()
    return contents


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def post(client: httpx.Client, content: bytes, frame_rate: float | str | None = None, **headers: str) -> httpx.Response:
    data = {} if frame_rate is None else {"frame_rate": str(frame_rate)}
    return client.post("/v1/detect-video", files={"video": ("video", content)}, data=data, headers=headers)


@pytest.fixture(autouse=True)
def nothing_stays(gateway: RunningGateway, wait_until: WaitUntil) -> Iterator[None]:
    """Whatever became of a video, its file is gone."""
    yield
    wait_until(lambda: [path.name for path in (gateway.folder / "spool").glob("*/*")] == ["lock"])


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_the_references_request_gets_its_answer(client: httpx.Client, videos: dict[str, bytes], name: str) -> None:
    files = {"video": (name, videos[name])}
    answer = client.post("/detect-video", files=files).json()
    assert [frame["timestamp"] for frame in answer["results"]] == ["00:00:00", "00:00:01", "00:00:02", "00:00:03"]
    assert [frame["frame"] for frame in answer["results"]] == [0, 10, 20, 30]
    for frame in answer["results"]:
        (face,) = frame["faces"]
        assert face["emotion"] == "happy"
        assert face["track"] == 1
        assert face["model_version"] == "1"
        x, y, width, height = face["box"]
        assert x >= 0
        assert y >= 0
        assert x + width <= 320
        assert y + height <= 240
    assert answer["summary"] == {
        "total_frames": 4,
        "faces_detected": 4,
        "dominant_emotion": "happy",
        "people": 1,
        "model_versions": ["1"],
    }


def test_frames_are_streamed_as_lines(client: httpx.Client, videos: dict[str, bytes]) -> None:
    answer = post(client, videos["a.mp4"], 2, Accept=NDJSON)
    assert answer.headers["content-type"].startswith(NDJSON)
    *frames, last = map(json.loads, answer.text.splitlines())
    assert [frame["time_s"] for frame in frames] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert last["summary"]["total_frames"] == len(frames)


def test_a_job_tells_its_progress_and_keeps_its_result(
    client: httpx.Client, videos: dict[str, bytes], wait_until: WaitUntil
) -> None:
    answer = post(client, videos["long.mp4"], 1, Prefer="respond-async")
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert answer.json()["status_url"] == place

    def progress() -> dict[str, float]:
        found: dict[str, float] = client.get(place).json()["progress"]
        return found

    early = client.get(f"{place}/result")
    assert early.status_code in (200, 409)
    wait_until(lambda: progress()["frames"] > 0)
    assert progress()["duration_s"] == pytest.approx(LONG_S, abs=0.2)
    wait_until(lambda: client.get(place).json()["state"] == "done")
    assert progress()["share"] == 1
    assert client.get(f"{place}/result").json()["summary"]["total_frames"] == LONG_S
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.get(f"{place}/result").status_code == 404


def test_a_job_can_be_cancelled(client: httpx.Client, videos: dict[str, bytes], wait_until: WaitUntil) -> None:
    places = [post(client, videos["long.mp4"], 3, Prefer="wait=0").headers["location"] for _ in range(2)]
    wait_until(lambda: client.get(places[0]).json()["state"] == "running")
    assert client.get(places[1]).json()["state"] == "queued"
    assert [client.delete(place).status_code for place in reversed(places)] == [204, 204]
    assert [client.get(place).status_code for place in places] == [404, 404]


@pytest.mark.parametrize("accept", ["*/*", NDJSON])
@pytest.mark.parametrize(
    ("name", "frame_rate", "status", "words"),
    [
        ("long.mp4", 10, 413, "more than 200 frames"),
        ("a.mp4", "often", 422, "frame_rate is 'often'"),
        ("a.mp4", "nan", 422, "frame_rate is 'nan'"),
        ("a.mp4", 0, 422, "from 0.1 to 60"),
        ("header", 1, 422, "cannot|decoded"),
        ("text", 1, 415, "not an MP4 or AVI"),
        ("nothing", 1, 400, "No video uploaded"),
    ],
)
def test_what_is_no_good_video_is_refused(
    client: httpx.Client,
    videos: dict[str, bytes],
    name: str,
    frame_rate: float | str,
    status: int,
    words: str,
    accept: str,
) -> None:
    others = {"header": b"\0\0\0\x18ftypmp42" + b"x" * 500, "text": b"#EXTM3U\nhttp://127.0.0.1/", "nothing": b""}
    answer = post(client, (videos | others)[name], frame_rate, Accept=accept)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert any(word in answer.json()["error"] for word in words.split("|"))
    assert "spool" not in answer.text


def test_damaged_videos_are_answered_or_refused(client: httpx.Client, videos: dict[str, bytes]) -> None:
    chance = random.Random(5)
    for index in range(8):
        content = bytearray(videos["a.mp4" if index % 2 else "a.avi"])
        for _ in range(40):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if index % 3 == 0:
            del content[chance.randrange(len(content)) :]
        assert post(client, bytes(content)).status_code in (200, 413, 415, 422)
    assert post(client, videos["a.mp4"]).json()["summary"]["dominant_emotion"] == "happy"


def test_the_documented_commands_work_as_printed(gateway: RunningGateway, videos: dict[str, bytes]) -> None:
    """Those of docs/gateway.md that call a gateway, one after the other, beside a video and a recording."""
    root = gateway.folder / "checkout"
    (root / "docs").mkdir(parents=True)
    (root / "docs/portraits").symlink_to(PORTRAIT.parent)
    (root / "video.mp4").write_bytes(videos["a.mp4"])
    soundfile.write(root / "speech.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    commands = "\n".join(block for block in blocks if block.startswith(("curl", "job=")))
    script = commands.replace("curl ", "curl -sS -w '\\n%{http_code}\\n' ").replace(
        "http://127.0.0.1:8080", gateway.url
    )
    done = subprocess.run(["bash", "-eu", "-c", script], cwd=root, capture_output=True, text=True, check=True)
    statuses = [line for line in done.stdout.splitlines() if re.fullmatch(r"\d{3}", line)]
    assert len(statuses) == commands.count("curl ") - 1  # one keeps its output to itself
    assert set(statuses) <= {"200", "204", "409"}, done.stdout
    assert '"emotion":"happy"' in done.stdout
