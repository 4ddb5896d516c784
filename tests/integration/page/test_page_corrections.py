"""Corrections that are given on the page in a browser, and erased."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import expect

from mien.faces import Box, crop
from tests.integration.page.conftest import HAPPY, RATE, choose, portrait

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration


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


def test_faces_of_a_video_and_of_a_camera_are_corrected_too(
    page: Page, files: Path, gateway: RunningGateway, wait_until: WaitUntil
) -> None:
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
    wait_until(lambda: page.evaluate("document.getElementById('player').currentTime === 0.5"))
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


def test_speech_is_corrected_window_by_window(
    page: Page, files: Path, gateway: RunningGateway, wait_until: WaitUntil
) -> None:
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
    wait_until(lambda: page.evaluate("Math.abs(document.getElementById('correction-sound').duration - 3) < 0.01"))
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
