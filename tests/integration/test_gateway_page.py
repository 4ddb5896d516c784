"""The page in a real browser, before a real gateway and a real Triton."""

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

from mien.faces import Box, crop
from mien.gateway.keys import KeyFile
from tests.conftest import ROOT, skip_or_fail
from tests.gateways import running_gateway
from tests.unit.mien.sounds import film

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Request

    from serving import TritonServer
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

PORTRAITS = ROOT / "docs/portraits"
SIDE = 512
HEAD = (120, 10, 330, 220)
FPS, SECONDS = 10, 6
RATE = 16_000
MAX_PAGE_BYTES = 100_000
HAPPY = re.compile(r"^happy [789]\d%$")
TIMEOUT_MS = 15_000
"""Machines that run the tests are busy with others."""

expect.set_options(timeout=TIMEOUT_MS)


def portrait(name: str, folder: Path = PORTRAITS) -> Image.Image:
    with Image.open(folder / name) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE))


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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
    """The page, opened; it must write nothing on the console and ask nobody else."""
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


def test_it_is_small_and_may_run_only_its_own_scripts(browser: Browser, gateway: RunningGateway) -> None:
    sizes: list[int] = []
    with browser.new_page() as page:
        page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
        answer = page.goto(gateway.url, wait_until="networkidle")
        assert answer is not None
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        print(f"\n{sum(sizes):,} bytes in {len(sizes)} answers; first paint after {paint:.0f} ms")
        assert sum(sizes) < MAX_PAGE_BYTES
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        again = page.reload()
        assert again is not None
    with gateway.client() as client:
        etag = client.get("/page/main.js").headers["etag"]
        assert client.get("/page/main.js", headers={"If-None-Match": etag}).status_code == 304
        assert client.get("/page/..%2Fpage.py").status_code == 404


def test_a_photograph_shows_its_face_and_all_probabilities(page: Page, files: Path) -> None:
    choose(page, files / "one.jpg")
    box = page.get_by_role("radio")
    expect(box).to_have_count(1)
    expect(box).to_have_text(HAPPY)
    expect(page.locator("#faces tr")).to_have_count(7)
    expect(page.locator("#faces tr").filter(has_text="happy")).to_contain_text("%")
    expect(page.locator("#origin")).to_have_text("Named by release 1 of the model. Faces found by haar.")
    place, picture = box.bounding_box(), page.locator("#picture").bounding_box()
    assert place is not None
    assert picture is not None
    middle = (place["x"] + place["width"] / 2 - picture["x"]) / picture["width"]
    assert middle == pytest.approx(0.44, abs=0.03)
    page.set_viewport_size({"width": 360, "height": 740})
    narrow = page.locator("#picture").bounding_box()
    moved = box.bounding_box()
    assert narrow is not None
    assert moved is not None
    assert (moved["x"] + moved["width"] / 2 - narrow["x"]) / narrow["width"] == pytest.approx(middle, abs=0.02)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_keyboard_chooses_among_faces(page: Page, files: Path) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(files / "two.jpg"))
    page.reload()  # Playwright listens for certain from the next page on
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    faces = page.get_by_role("radio")
    expect(faces).to_have_count(2)
    first, second = faces.nth(0), faces.nth(1)
    expect(first).to_be_checked()
    for _ in range(5):  # past the buttons of microphone and camera, and what is asked about videos
        page.keyboard.press("Tab")
    expect(first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()
    expect(second).to_be_checked()
    expect(first).not_to_be_checked()
    expect(page.locator(".card.chosen")).to_contain_text("Face 2")


def test_what_cannot_be_answered_is_told_in_a_sentence(page: Page, files: Path) -> None:
    problem = page.get_by_role("alert")
    choose(page, files / "none.png")
    expect(problem).to_contain_text("No face detected.")
    choose(page, files / "damaged.jpg")
    expect(problem).to_contain_text("damaged")
    expect(page.locator("#result")).to_be_hidden()
    choose(page, files / "one.jpg")
    expect(page.get_by_role("radio")).to_have_count(1)
    expect(problem).to_be_hidden()


def test_a_pasted_picture_is_looked_at(page: Page, files: Path) -> None:
    page.evaluate(
        """async (bytes) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list((files / "none.png").read_bytes()),
    )
    expect(page.get_by_role("alert")).to_contain_text("No face detected")


def test_a_videos_timeline_seeks(page: Page, files: Path) -> None:
    choose(page, files / "film.mp4")
    slider = page.get_by_role("slider", name="Time in the video")
    expect(slider).to_be_visible()
    expect(page.get_by_role("radio", include_hidden=True)).to_have_text(HAPPY)
    chart = slider.bounding_box()
    assert chart is not None
    slider.click(position={"x": chart["width"] * 0.75, "y": 20})
    page.wait_for_function(f"Math.abs(document.getElementById('player').currentTime - {SECONDS * 0.75}) < 0.1")
    expect(page.get_by_role("radio")).to_have_count(0)
    expect(slider).to_have_attribute("aria-valuetext", "0:04.5, no face")
    slider.press("Home")
    expect(page.get_by_role("radio")).to_have_count(1)
    slider.press("ArrowRight")
    page.wait_for_function("document.getElementById('player').currentTime === 0.5")
    page.get_by_text("As a table").click()
    expect(page.locator("details tr")).to_have_count(2 * SECONDS)


def test_a_video_with_sound_shows_faces_speech_and_both_together(page: Page, files: Path) -> None:
    choose(page, files / "talking.mp4")
    slider = page.get_by_role("slider", name="Time in the video")
    expect(slider).to_be_visible()
    both = re.compile(r"^0:00, faces: happy \d+%; speech: \w+ \d+%; together: \w+ \d+%$")
    expect(slider).to_have_attribute("aria-valuetext", both)
    expect(page.locator(".chart svg")).to_have_count(2)
    expect(page.locator(".band div").first).to_have_text(re.compile(r"^\w+$"))
    whole = page.get_by_role("list", name="As a whole").get_by_role("listitem")
    expect(whole).to_have_text([re.compile(rf"^{name} \w+ \d+%$") for name in ("Together", "Faces", "Speech")])
    expect(page.locator("#voices .card")).to_contain_text("Speech at this moment")
    expect(page.locator("#origin")).to_contain_text("Speech named by release 1 of its model.")
    assert page.evaluate("document.getElementById('player').muted") is False

    slider.press("End")
    nothing = re.compile("faces: no face; speech: silence; together: nothing$")
    expect(slider).to_have_attribute("aria-valuetext", nothing)
    expect(page.locator("#voices .card")).to_be_hidden()
    page.get_by_text("As a table").click()
    expect(page.locator("details thead th")).to_have_text(["Time", "Faces", "Speech", "Together"])
    expect(page.locator("details tbody tr").last).to_contain_text("silence")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360

    page.get_by_role("checkbox", name="Listen to a video's sound too").uncheck()
    choose(page, files / "talking.mp4")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^0:00, happy \d+%$"))
    expect(page.locator("#voices")).to_be_hidden()


def test_a_video_without_sound_says_so_beside_its_faces(page: Page, files: Path) -> None:
    choose(page, files / "film.mp4")
    expect(page.locator("#origin")).to_contain_text("The video has no sound track.")
    expect(page.locator(".chart svg")).to_have_count(1)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_recordings_timeline_seeks_and_shows_silence(page: Page, files: Path) -> None:
    choose(page, files / "speech.wav")
    slider = page.get_by_role("slider", name="Time in the recording")
    expect(slider).to_be_visible()
    expect(page.locator("#listener")).to_be_visible()
    expect(page.locator("#faces .card")).to_have_count(2)
    expect(page.locator("#faces")).to_contain_text("As a whole")
    expect(page.get_by_role("row", name="boredom").first).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^0:00, \w+ \d+%$"))
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "0:12, silence")
    page.wait_for_function("Math.abs(document.getElementById('listener').currentTime - 12) < 0.1")
    expect(page.locator("#faces .card:visible")).to_have_count(1)
    page.get_by_text("As a table").click()
    expect(page.locator("details tr")).to_have_count(7)

    choose(page, files / "silence.flac")
    expect(page.get_by_role("alert")).to_contain_text("The recording is silent")
    expect(page.locator("#faces .card")).to_have_count(0)
    choose(page, files / "one.jpg")
    expect(page.locator("#listener")).to_be_hidden()
    expect(page.get_by_role("heading", name="1 face")).to_be_visible()


def test_the_microphone_records_with_consent_and_may_be_discarded(page: Page, gateway: RunningGateway) -> None:
    start = page.get_by_role("button", name="Record speech")
    start.click()
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#recorder")).to_be_hidden()

    start.click()
    page.get_by_role("button", name="I agree, start recording").click()
    expect(page.locator("#recorded")).to_have_text(re.compile("Recording: 0:0[2-9] of 2:00"))
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#recorder")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("The recording was discarded.")
    expect(page.locator("#result")).to_be_hidden()

    start.click()
    page.get_by_role("button", name="I agree, start recording").click()
    expect(page.locator("#recorded")).to_have_text(re.compile("Recording: 0:0[1-9] of 2:00"))
    page.get_by_role("button", name="Stop and send").click()
    expect(page.get_by_role("slider", name="Time in the recording")).to_be_visible()
    expect(page.locator("#faces")).to_contain_text("As a whole")
    with gateway.client() as client:
        assert "mien_gateway_recordings 0.0" in client.get("/metrics").text


def test_the_camera_starts_with_consent_and_stops(page: Page, gateway: RunningGateway) -> None:
    start = page.get_by_role("button", name="Use the camera")
    start.click()
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#viewfinder")).to_be_hidden()

    start.click()
    page.get_by_role("button", name="I agree").click()
    expect(page.get_by_role("radio")).to_have_text(HAPPY)
    expect(page.locator("#pace")).to_contain_text("frames a second")
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("#viewfinder")).to_be_hidden()
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None

    start.click()
    page.get_by_role("button", name="I agree").click()
    expect(page.get_by_role("radio")).to_have_count(1)
    # A browser without a window hides no tab, so the page is told that it is hidden.
    page.evaluate(
        """Object.defineProperty(document, "visibilityState", { value: "hidden" });
        document.dispatchEvent(new Event("visibilitychange"));"""
    )
    expect(page.get_by_role("alert")).to_contain_text("you left this tab")
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None


def test_a_correction_goes_through_and_is_erased(page: Page, files: Path, gateway: RunningGateway) -> None:
    choose(page, files / "one.jpg")
    page.get_by_role("button", name="Not right?").click()
    consent = page.get_by_role("dialog").get_by_role("checkbox")
    expect(consent).not_to_be_checked()
    page.get_by_label("It shows").select_option("surprise")
    page.get_by_role("button", name="Send").click()  # the browser asks for the consent
    expect(page.get_by_role("dialog")).to_be_visible()
    consent.check()
    page.get_by_role("button", name="Send").click()
    number = page.locator(".receipt code").first.inner_text()
    with gateway.client() as client:
        kept = client.get(f"/v1/feedback/{number}").json()
        assert (kept["predicted"], kept["corrected"], kept["release"]) == ("happy", "surprise", "1")
        face = io.BytesIO(client.get(f"/v1/feedback/{number}/picture").content)
        answer = client.post("/v1/detect", files={"image": (files / "one.jpg").read_bytes()}).json()
        # The very square that the model saw, but for a JPEG on the way.
        seen = crop(np.asarray(portrait("one.jpg", files)), Box(**answer["faces"][0]["box"]))
        assert np.abs(np.asarray(Image.open(face), int) - seen).mean() < 6
        code = page.locator(".token").inner_text()
        page.get_by_text("Erase a correction that you gave").click()
        page.get_by_label("Number").fill(number)
        page.get_by_label("Code", exact=True).fill(code[::-1])
        page.get_by_role("button", name="Erase it", exact=True).click()
        expect(page.locator("#erasure-outcome")).to_contain_text("not yours")
        page.get_by_role("button", name="Erase it now").click()
        expect(page.locator(".receipt")).to_contain_text("It has been erased.")
        assert client.get(f"/v1/feedback/{number}").status_code == 404


def test_faces_of_a_video_and_of_a_camera_are_corrected_too(page: Page, files: Path, gateway: RunningGateway) -> None:
    def correct(label: str) -> bytes:
        page.get_by_role("button", name="Not right?").click()
        page.get_by_label("It shows").select_option(label)
        page.get_by_role("dialog").get_by_role("checkbox").check()
        page.get_by_role("button", name="Send").click()
        receipt = page.locator(".receipt").filter(has_text=f"happy → {label}")
        number = receipt.locator("code").first.inner_text()
        with gateway.client() as client:
            return client.get(f"/v1/feedback/{number}/picture").content

    choose(page, files / "film.mp4")
    slider = page.get_by_role("slider", name="Time in the video")
    slider.press("ArrowRight")
    page.wait_for_function("document.getElementById('player').currentTime === 0.5")
    kept = [correct("sad")]
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="I agree").click()
    expect(page.get_by_role("radio")).to_have_text(HAPPY)
    kept.append(correct("fear"))
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator(".receipt")).to_have_count(2)  # both can still be erased
    with gateway.client() as client:
        for picture in kept:  # each is the face that was seen, and no black or other frame
            assert client.post("/v1/detect", files={"image": picture}).json()["emotion"] == "happy"


def test_speech_is_corrected_window_by_window(page: Page, files: Path, gateway: RunningGateway) -> None:
    choose(page, files / "talking.mp4")
    expect(page.locator("#voices").get_by_role("button", name="Not right?")).to_be_visible()
    choose(page, files / "speech.wav")
    slider = page.get_by_role("slider", name="Time in the recording")
    expect(slider).to_be_visible()
    page.get_by_role("button", name="Not right?").click()  # of this moment: the whole has several windows
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("What does this sound like?")
    expect(page.locator("#terms")).to_contain_text("this recording of speech")
    expect(page.locator("#correction-face")).to_be_hidden()
    page.wait_for_function("Math.abs(document.getElementById('correction-sound').duration - 3) < 0.01")
    dialog.get_by_label("It sounds").select_option("boredom")
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Send").click()
    number = page.locator(".receipt code").first.inner_text()
    with gateway.client() as client:
        kept = client.get(f"/v1/feedback/{number}").json()
        assert (kept["ensemble"], kept["corrected"], kept["release"]) == ("speech_emotion", "boredom", "1")
        sound, rate = soundfile.read(io.BytesIO(client.get(kept["recording_url"]).content), dtype="float32")
        sent, _ = soundfile.read(files / "speech.wav", dtype="float32")
        assert (rate, len(sound)) == (RATE, 3 * RATE)
        assert np.abs(sound - sent[: 3 * RATE]).max() < 1e-3  # the very window that was recognized
        page.get_by_role("button", name="Erase it now").click()
        expect(page.locator(".receipt")).to_contain_text("It has been erased.")
        assert client.get(f"/v1/feedback/{number}").status_code == 404


def test_where_a_key_is_needed_the_page_asks_for_it(
    browser: Browser, triton: TritonServer, tmp_path: Path, files: Path
) -> None:
    key = KeyFile(tmp_path / "keys.json").add("visitor")
    settings = {"REQUIRE_KEYS": "true", "WORKERS": "1"}
    with running_gateway(triton.endpoint, tmp_path, **settings) as gateway, browser.new_page() as page:
        page.goto(gateway.url)
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("button", name="I agree").click()
        given = page.get_by_label("Key", exact=True)
        given.fill(f"{key}x")
        given.press("Enter")
        expect(page.get_by_text("This API key is not known.")).to_be_visible()
        given.fill(key)
        given.press("Enter")
        expect(page.get_by_role("radio")).to_have_count(1)
        choose(page, files / "two.jpg")
        expect(page.get_by_role("radio")).to_have_count(2)
        assert key not in page.content()
    assert key not in gateway.log
