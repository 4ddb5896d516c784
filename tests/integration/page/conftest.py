"""The page of a real gateway, before a real Triton, in a real browser, and what a person may give it."""

from __future__ import annotations

import io
import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.conftest import ROOT, skip_or_fail
from tests.unit.mien.sounds import film

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Request

    from tests.gateways import RunningGateway

PORTRAITS = ROOT / "docs/portraits"
SIDE = 512
HEAD = (120, 10, 330, 220)
FPS, SECONDS = 10, 6
RATE = 16_000
HAPPY = re.compile(r"^happy [789]\d%$")
TIMEOUT_MS = 15_000
"""Machines that run the tests are busy with others."""

expect.set_options(timeout=TIMEOUT_MS)


def portrait(name: str, folder: Path = PORTRAITS) -> Image.Image:
    with Image.open(folder / name) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person may choose, and what the camera sees."""
    folder = tmp_path_factory.mktemp("files")
    one, other = portrait("astronaut.jpg"), portrait("grace_hopper.jpg")
    one.save(folder / "one.jpg")
    two = Image.new("RGB", (2 * SIDE, SIDE))
    two.paste(one, (0, 0))
    two.paste(other, (SIDE, 0))
    two.save(folder / "two.jpg")
    Image.new("RGB", (64, 64), "white").save(folder / "none.png")
    (folder / "damaged.jpg").write_bytes((folder / "one.jpg").read_bytes()[:4000])
    write_video(folder / "film.mp4", one.crop(HEAD).resize((200, 200)))
    seen = io.BytesIO()
    one.save(seen, "JPEG")
    (folder / "camera.mjpeg").write_bytes(seen.getvalue())
    noise = np.random.default_rng(0).normal(0, 0.1, 6 * RATE).astype(np.float32)
    quiet = np.zeros(6 * RATE, np.float32)
    seen = np.asarray(one)
    voice = np.concatenate([noise[: 3 * RATE], quiet[: 3 * RATE]])
    frames = [seen] * (FPS * SECONDS // 2) + [np.full_like(seen, 90)] * (FPS * SECONDS // 2)
    film(folder / "talking.mp4", frames, FPS, voice, "libx264")
    soundfile.write(folder / "speech.wav", np.concatenate([noise, quiet]), RATE)
    soundfile.write(folder / "silence.flac", quiet, RATE)
    soundfile.write(folder / "heard.wav", noise, RATE)  # what the microphone hears, again and again
    return folder


def write_video(path: Path, head: Image.Image) -> None:
    """A face in the first half alone, in a codec that browsers play too."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), FPS, (320, 240))
    try:
        for index in range(FPS * SECONDS):
            frame = np.full((240, 320, 3), 90, np.uint8)
            if index < FPS * SECONDS / 2:
                frame[20:220, 60:260] = np.asarray(head)[..., ::-1]
            writer.write(frame)
    finally:
        writer.release()


@pytest.fixture(scope="module")  # while it is open, no test of this process can have an event loop of its own
def browser(files: Path) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        skip_or_fail("Chromium is missing: make system-deps")
    options = [
        "--no-sandbox",  # it cannot have one as root
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={files / 'camera.mjpeg'}",
        f"--use-file-for-fake-audio-capture={files / 'heard.wav'}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, gateway: RunningGateway) -> Iterator[Page]:
    """The page, opened; it must write nothing on the console and ask nobody else.

    Its policy forbids the `eval` by which Playwright's `wait_for_function` looks a second time: `wait_until` waits.
    """
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    said: list[str] = []
    asked: list[Request] = []

    def note(request: Request) -> None:  # Playwright marks its handlers; a list's own method cannot be
        asked.append(request)

    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", note)
    page.goto(gateway.url)
    yield page
    page.close()
    assert [text for text in said if "status of 4" not in text] == []  # the browser's own note of a refusal
    origins = {urlsplit(request.url)[:2] for request in asked if not request.url.startswith("blob:")}
    assert origins == {urlsplit(gateway.url)[:2]}


def choose(page: Page, file: Path) -> None:
    page.set_input_files("#file", file)
