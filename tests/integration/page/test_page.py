"""The page in a browser: pictures, the camera, the keyboard, what it weighs and may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from mien.gateway.keys import KeyFile
from tests.gateways import running_gateway
from tests.integration.page.conftest import HAPPY, choose

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from serving import TritonServer
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

MAX_PAGE_BYTES = 100_000


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
