"""Two minutes of video through the command line and a real Triton."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from mien import ClientSettings, EmotionClient
from mien.outputs import partial_name
from mien.settings import YUNET_FILE
from mien.video import VideoReader, VideoWriter, analyse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from serving import TritonServer
    from tests.conftest import WaitUntil

pytestmark = [pytest.mark.integration, pytest.mark.data]

FPS, SECONDS = 5, 120
FRAMES = FPS * SECONDS
WIDTH, HEIGHT = 1280, 720
DETECT_SIZE = 320
"""Enough for the faces of this video, which are a fifth of its width."""

DEADLINE_S = 60.0
"""For each call: machines that run the tests are busy with others."""

MEBIBYTE = 2**20


def photographs(test_data: Path, labels: list[str]) -> list[NDArray[np.uint8]]:
    """One photograph of each label, 350 x 350."""
    with zipfile.ZipFile(test_data / "data/photos.zip") as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"))))
        pictures = []
        for label in labels:
            for row in rows:
                picture = Image.open(archive.open(f"photos/{row['file']}")).convert("RGB")
                if row["emotion"] == label and picture.size == (350, 350):
                    pictures.append(np.asarray(picture))
                    break
    return pictures


@pytest.fixture(scope="module")
def video_file(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who drift up and down, one on the left and one on the right."""
    path = tmp_path_factory.mktemp("video") / "two-people.mp4"
    left, right = photographs(test_data, ["happy", "angry"])
    with VideoWriter(path, FPS) as writer:
        for index in range(FRAMES):
            frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            drift = round(150 * np.sin(index / 20))
            for picture, x, y in ((left, 150, 185 + drift), (right, 780, 185 - drift)):
                frame[y : y + 350, x : x + 350] = picture
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def settings(triton: TritonServer, test_data: Path) -> ClientSettings:
    return ClientSettings(
        endpoints=triton.endpoint,
        yunet_path=test_data / "models" / YUNET_FILE,
        detector_size=DETECT_SIZE,
        deadline_s=DEADLINE_S,
    )


@pytest.mark.slow
def test_two_minutes_give_every_face_in_order_and_in_flat_memory(video_file: Path, settings: ClientSettings) -> None:
    process = psutil.Process()
    memory: list[int] = []
    tracks: list[list[int]] = []
    happy_side: list[str] = []
    with EmotionClient(settings) as client, VideoReader(video_file, settings.max_pixels) as reader:
        for item in analyse(client, reader):
            assert item.frame.index == len(memory)
            memory.append(process.memory_info().rss)
            ordered = sorted(item.faces, key=lambda face: face.recognized.face.box.x)
            tracks.append([face.track for face in ordered])
            happy_side.append(ordered[0].recognized.emotion.label)
    assert tracks == [tracks[0]] * FRAMES
    assert sorted(tracks[0]) == [1, 2]
    assert happy_side.count("happy") > 0.9 * FRAMES
    warm = max(memory[: FRAMES // 4])
    print(f"\nmemory after a quarter: {warm / MEBIBYTE:.0f} MiB, at most later: {max(memory) / MEBIBYTE:.0f} MiB")
    assert max(memory) - warm < 64 * MEBIBYTE  # all its frames would be 1.5 GiB


@pytest.fixture
def environment(settings: ClientSettings) -> dict[str, str]:
    return os.environ | {
        "MIEN_ENDPOINTS": settings.endpoints[0],
        "MIEN_YUNET_PATH": str(settings.yunet_path),
        "MIEN_DEADLINE_S": str(DEADLINE_S),
    }


@pytest.fixture
def running(video_file: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mien", "video", str(video_file), "--detect-size", str(DETECT_SIZE)]
    outputs = ["--csv", str(tmp_path / "o.csv"), "--json", str(tmp_path / "o.jsonl"), "--out", str(tmp_path / "o.mp4")]
    with subprocess.Popen([*command, *outputs], env=environment, text=True, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_leaves_whole_files(
    running: subprocess.Popen[str], wait_until: WaitUntil, tmp_path: Path, number: signal.Signals
) -> None:
    beside = partial_name(tmp_path / "o.jsonl")
    wait_until(lambda: beside.exists() and beside.stat().st_size > 0, timeout_s=DEADLINE_S)
    running.send_signal(number)
    _, err = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 130
    assert err.startswith("Stopped: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.jsonl", "o.mp4"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_text())))
    frames = len(rows) // 2
    assert 0 < frames < FRAMES
    assert [int(row["frame"]) for row in rows] == [index // 2 for index in range(2 * frames)]
    records = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [(record["frame"], record["emotion"]) for record in records] == [
        (int(row["frame"]), row["emotion"]) for row in rows
    ]
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
    capture.release()


def test_sampling_one_frame_in_ten_seconds(video_file: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mien", "video", str(video_file), "--fps", "0.1", "--csv", "-"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [int(row["frame"]) for row in rows] == [index for index in range(0, FRAMES, 50) for _ in range(2)]
    assert {row["face"] for row in rows} == {"1", "2"}
