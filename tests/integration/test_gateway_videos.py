"""Videos through a real gateway and a real Triton."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from mien import ClientSettings, EmotionClient, fusion, speech
from mien.sound_tracks import SoundTrackReader
from mien.video import VideoWriter
from tests.gateways import DEADLINE_S, running_gateway
from tests.unit.mien.sounds import RATE, film

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from serving import TritonServer
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


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s: a face for 3 s, then none; noise for 4 s, then silence."""
    with Image.open(PORTRAIT) as portrait:
        head = np.asarray(portrait.convert("RGB").crop(HEAD).resize((200, 200)))
    seen = np.full((240, 320, 3), 90, np.uint8)
    blank = seen.copy()
    seen[20:220, 60:260] = head
    voice = np.zeros(6 * RATE, np.float32)
    voice[: 4 * RATE] = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    return film(tmp_path_factory.mktemp("talking") / "talking.mp4", [seen] * 30 + [blank] * 30, FPS, voice)


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


def post(
    client: httpx.Client,
    content: bytes,
    frame_rate: float | str | None = None,
    audio: str | None = None,
    **headers: str,
) -> httpx.Response:
    fields = {"frame_rate": frame_rate, "audio": audio}
    data = {name: str(value) for name, value in fields.items() if value is not None}
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


def test_faces_and_speech_are_on_one_timeline(client: httpx.Client, talking: Path, triton: TritonServer) -> None:
    answer = post(client, talking.read_bytes(), 2, "true").raise_for_status().json()
    assert len(answer["results"]) == 12
    sound = answer["sound"]
    assert sound["problem"] is None
    with (
        EmotionClient(ClientSettings(endpoints=triton.endpoint, deadline_s=DEADLINE_S)) as sdk,
        SoundTrackReader(talking) as reader,
    ):
        same = list(speech.analyse(sdk, reader.sound()))
    assert [window["emotion"] for window in sound["windows"]] == [one.emotion and one.emotion.label for one in same]
    for window, one in zip(sound["windows"], same, strict=True):
        if one.emotion is not None:
            assert window["probabilities"] == pytest.approx(one.emotion.probabilities, abs=1e-4)
    moments = sound["timeline"]
    assert [moment["start_s"] for moment in moments[:4]] == [0, 1.5, 3, 4.5]
    assert [moment["faces"] for moment in moments[:4]] == [3, 3, 0, 0]
    assert moments[0]["face"]["emotion"] == "happy"
    assert all(moment["speech"] for moment in moments[:3])
    assert moments[2]["face"] is None
    assert moments[2]["fused"]["emotion"] == moments[2]["speech"]["emotion"]
    assert set(moments[0]["fused"]["probabilities"]) == set(fusion.LABELS)
    whole = sound["whole"]
    assert (whole["faces"], whole["face"]["emotion"]) == (6, "happy")
    assert sum(whole["fused"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_sound_is_in_the_last_line_of_a_stream_if_it_was_asked_for(client: httpx.Client, talking: Path) -> None:
    *frames, last = map(json.loads, post(client, talking.read_bytes(), 1, "true", Accept=NDJSON).text.splitlines())
    assert len(frames) == last["summary"]["total_frames"] == 6
    assert last["sound"]["whole"]["speech"]["model_version"] == "1"
    for audio in ("false", "", None):
        assert post(client, talking.read_bytes(), 1, audio).json()["sound"] is None
    refused = post(client, talking.read_bytes(), 1, "loud")
    assert (refused.status_code, refused.json()["error"][:15]) == (422, "audio is 'loud'")


def test_a_video_with_no_or_broken_sound_is_answered_with_the_reason(
    client: httpx.Client, videos: dict[str, bytes], talking: Path
) -> None:
    silent = post(client, videos["a.mp4"], 1, "true").raise_for_status().json()
    assert silent["sound"]["problem"] == "The video has no sound track."
    assert silent["sound"]["windows"] == []
    whole = silent["sound"]["whole"]
    assert whole["speech"] is None
    assert whole["fused"]["emotion"] == whole["face"]["emotion"] == "happy"

    broken = post(client, with_broken_sound(talking), 1, "true").raise_for_status().json()
    assert broken["sound"]["problem"] == "The video has sound that is truncated or damaged."
    assert broken["summary"]["faces_detected"] == 3
    assert broken["sound"]["whole"]["face"]["emotion"] == "happy"


def with_broken_sound(path: Path) -> bytes:
    """The video with noise in the place of its packets of sound, from the middle on."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.pos is not None]
    chance = random.Random(1)
    for place, size in packets[len(packets) // 2 :]:
        content[place : place + size] = chance.randbytes(size)
    return bytes(content)


def test_a_model_server_without_speech_leaves_the_faces(
    triton: TritonServer, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_SPEECH_MODEL", "speech_of_nobody")
    with running_gateway(triton.endpoint, tmp_path, WORKERS="1") as gateway, gateway.client() as client:
        answer = post(client, talking.read_bytes(), 1, "true").raise_for_status().json()
        assert answer["sound"]["problem"] == "The model server cannot answer now; try again in a moment."
        assert answer["sound"]["whole"]["face"]["emotion"] == "happy"
        assert "video_not_heard" in gateway.log
        assert client.get("/ready").json() == {"status": "ready", "speech": False}


def test_the_documented_commands_work_as_printed(gateway: RunningGateway, talking: Path) -> None:
    """Those of docs/gateway.md that call a gateway, one after the other, beside a video and a recording."""
    root = gateway.folder / "checkout"
    (root / "docs").mkdir(parents=True)
    (root / "docs/portraits").symlink_to(PORTRAIT.parent)
    (root / "video.mp4").write_bytes(talking.read_bytes())
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
