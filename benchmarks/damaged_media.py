"""Damaged pictures, videos and recordings against a gateway of its own before a Triton of its own.

    python -m benchmarks.damaged_media --pictures 2000 --videos 50 --recordings 200

Files that are truncated, changed, lie about themselves, are of another kind than their name says, or are far larger
decoded than encoded. It fails (exit status 1) if one is answered with a fault (5xx other than 503 and 504), or with a
size that is not the picture's, if a good picture sent in between is not answered as it was at first, or if gateway and
workers hold 200 MiB more than before: right after the last answer, or when they have come to rest.
"""

from __future__ import annotations

import argparse
import http
import io
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import soundfile
from PIL import Image

from benchmarks.damage import DamagedFile, damaged_picture, damaged_recording, damaged_video
from benchmarks.gateway import HEAD, PORTRAIT, head, memory_mib, running_gateway
from mien.gateway.processes import REST_AFTER_S
from mien.video import VideoWriter
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

CALLERS = 4
DEADLINE_S = 120.0
GOOD_EVERY = 10
MAX_GROWTH_MIB = 200
PAUSE_S = 2 * REST_AFTER_S
REFUSALS = {http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.GATEWAY_TIMEOUT}


@dataclass
class Tally:
    """What came of the files.

    Attributes:
        statuses: how often each status was answered, by damage.
        slowest_s: time of the slowest answer, and the damage of its file.
        faults: what must not happen, in words.
    """

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    slowest_s: tuple[float, str] = (0.0, "")
    faults: list[str] = field(default_factory=list)

    def add(self, file: DamagedFile, status: int, answer: dict[str, Any], seconds: float) -> None:
        """Count one answer."""
        self.statuses.setdefault(file.damage, Counter())[status] += 1
        self.slowest_s = max(self.slowest_s, (seconds, file.damage))
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR and status not in REFUSALS:
            self.faults.append(f"{file.damage}, {file.name}: {status} {answer}")
        if "width" in answer and (answer["width"], answer["height"]) != file.size:
            self.faults.append(f"{file.damage}, {file.name}: {file.size} was answered as {answer}")

    def print(self, kind: str) -> None:
        """Print the figures."""
        total = sum(self.statuses.values(), Counter[int]())
        print(f"{total.total()} {kind}: {_counts(total)}; slowest {self.slowest_s[0]:.2f} s ({self.slowest_s[1]})")
        for damage, counts in sorted(self.statuses.items()):
            print(f"  {damage:15} {_counts(counts)}")


def _counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


class Sender:
    """Sends files to a gateway.

    Args:
        port: of the gateway.
    """

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S)
        self._good = head(240)
        self._expected = self._send_good()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def send(self, files: Iterable[DamagedFile], route: str, part: str) -> Tally:
        """Send all of them, with good pictures in between, and tell what came of them."""
        tally = Tally()

        def send_one(numbered: tuple[int, DamagedFile]) -> tuple[DamagedFile, int, dict[str, Any], float, bool]:
            number, file = numbered
            started = time.perf_counter()
            answer = self._client.post(route, files={part: (file.name, file.content)})
            seconds = time.perf_counter() - started
            is_right = bool(number % GOOD_EVERY) or self._send_good() == self._expected
            return file, answer.status_code, answer.json(), seconds, is_right

        with ThreadPoolExecutor(CALLERS) as callers:
            for file, status, answer, seconds, is_right in callers.map(send_one, enumerate(files)):
                tally.add(file, status, answer, seconds)
                if not is_right:
                    tally.faults.append(f"A good picture was answered otherwise after {file.damage}, {file.name}.")
        return tally

    def _send_good(self) -> object:
        """The part of a good picture's answer that must stay the same."""
        answer = self._client.post("/v1/detect", files={"image": ("good.jpg", self._good)}).raise_for_status().json()
        return answer["width"], answer["height"], [(face["box"], face["emotion"]) for face in answer["faces"]]


class Memory:
    """Private memory of a gateway and its workers, and what it becomes.

    Args:
        pid: of the gateway, which is at rest.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        time.sleep(PAUSE_S)
        self._mib = {"before": memory_mib(pid)}

    def note(self, when: str) -> None:
        """Look now, and again when the workers have come to rest."""
        self._mib[when] = memory_mib(self._pid)
        time.sleep(PAUSE_S)
        self._mib[f"{PAUSE_S:g} s {when}"] = memory_mib(self._pid)

    def text(self) -> str:
        """All figures."""
        return ", ".join(f"{when} {mib:.0f} MiB" for when, mib in self._mib.items())

    def faults(self) -> list[str]:
        """What has grown too much, in words."""
        growth = {when: mib - self._mib["before"] for when, mib in self._mib.items()}
        return [f"{mib:.0f} MiB more {when}" for when, mib in growth.items() if mib > MAX_GROWTH_MIB]


def videos(folder: Path) -> list[tuple[str, bytes]]:
    """A head that drifts to the right for 2 seconds, as MP4 and AVI."""
    with Image.open(PORTRAIT) as portrait:
        face = np.asarray(portrait.convert("RGB").crop(HEAD).resize((200, 200)))
    contents = []
    for name in ("video.mp4", "video.avi"):
        with VideoWriter(folder / name, fps=10) as writer:
            for index in range(20):
                frame = np.full((240, 320, 3), 90, np.uint8)
                frame[20:220, 20 + index : 220 + index] = face
                writer.write(frame)
        contents.append((name, (folder / name).read_bytes()))
    return contents


def recordings() -> list[tuple[str, bytes]]:
    """Four seconds of a hum that swells, as WAV, FLAC, OGG and MP3."""
    time_s = np.arange(64_000) / 16_000
    hum = (0.2 * time_s / 4 * np.sin(2 * np.pi * 180 * time_s)).astype(np.float32)
    contents = []
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, hum, 16_000, format=kind)
        contents.append((f"recording.{kind.lower()}", file.getvalue()))
    return contents


def main() -> int:
    """Send, print, and say by the exit status whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=18481, help="of the gateway that is started")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 (the same files every time)
    with tempfile.TemporaryDirectory() as folder, Image.open(PORTRAIT) as portrait:
        state, face = Path(folder), portrait.convert("RGB").crop(HEAD)
        originals, heard = videos(state), recordings()
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with TritonServer(settings) as server, running_gateway(server.endpoint, state, options.port) as gateway:
            sender = Sender(options.port)
            held = Memory(gateway.pid)
            pictures = (damaged_picture(face, chance) for _ in range(options.pictures))
            of_pictures = sender.send(pictures, "/v1/detect", "image")
            held.note("after the pictures")
            films = (damaged_video(originals, chance) for _ in range(options.videos))
            of_videos = sender.send(films, "/v1/detect-video", "video")
            held.note("after the videos")
            sounds = (damaged_recording(heard, chance) for _ in range(options.recordings))
            of_recordings = sender.send(sounds, "/v1/detect-audio", "audio")
            held.note("after the recordings")
            sender.close()
    of_pictures.print("pictures")
    of_videos.print("videos")
    of_recordings.print("recordings")
    print(f"gateway and workers: {held.text()}")
    print(f"{CALLERS} callers, a good picture for each {GOOD_EVERY}, seed {options.seed}, {os.cpu_count()} processors")
    faults = of_pictures.faults + of_videos.faults + of_recordings.faults + held.faults()
    for fault in faults:
        print(f"Fault: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
