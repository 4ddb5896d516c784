"""Videos and recordings on the page in a browser: what it shows over their time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.integration.page.conftest import HAPPY, SECONDS, choose

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration


def test_a_videos_timeline_seeks(page: Page, files: Path, wait_until: WaitUntil) -> None:
    choose(page, files / "film.mp4")
    slider = page.get_by_role("slider", name="Time in the video")
    expect(slider).to_be_visible()
    expect(page.get_by_role("radio", include_hidden=True)).to_have_text(HAPPY)
    chart = slider.bounding_box()
    assert chart is not None
    slider.click(position={"x": chart["width"] * 0.75, "y": 20})
    wait_until(
        lambda: page.evaluate(f"Math.abs(document.getElementById('player').currentTime - {SECONDS * 0.75}) < 0.1")
    )
    expect(page.get_by_role("radio")).to_have_count(0)
    expect(slider).to_have_attribute("aria-valuetext", "0:04.5, no face")
    slider.press("Home")
    expect(page.get_by_role("radio")).to_have_count(1)
    slider.press("ArrowRight")
    wait_until(lambda: page.evaluate("document.getElementById('player').currentTime === 0.5"))
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


def test_a_recordings_timeline_seeks_and_shows_silence(page: Page, files: Path, wait_until: WaitUntil) -> None:
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
    wait_until(lambda: page.evaluate("Math.abs(document.getElementById('listener').currentTime - 12) < 0.1"))
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
