"""Feedback over REST, on a gateway that was not started: no worker, no model server."""

from __future__ import annotations

import asyncio
import io
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from structlog.testing import capture_logs

from mien.errors import SettingsError
from mien.gateway.feedback.crops import MAX_PIXELS
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.keys import KeyFile
from tests.unit.mien.gateway.feedback.conftest import calling, desk, face, give, given

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from tests.unit.mien.gateway.feedback.conftest import Clock, MakeApp

UNKNOWN = "0" * 32


async def test_a_correction_is_kept_reviewed_and_erased(local: httpx.AsyncClient, tmp_path: Path) -> None:
    terms = (await local.get("/v1/feedback/terms")).json()
    assert terms["enabled"] is True
    assert "180 days" in terms["terms"]
    answer = await give(local, contributor="me@home")
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    place = f"/v1/feedback/{receipt['id']}"
    listed = (await local.get("/v1/feedback", params={"state": "pending", "contributor": "me@home"})).json()
    assert listed == {"corrections": [(await local.get(place)).json()], "total": 1}
    picture = await local.get(listed["corrections"][0]["picture_url"])
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (96, 96)
    reviewed = await local.post(f"{place}/review", json={"decision": "accepted"})
    assert (reviewed.json()["state"], reviewed.json()["reviewer"]) == ("accepted", "local")
    erased = await local.delete(place, headers={"X-Erasure-Token": receipt["erasure_token"]})
    assert (erased.status_code, erased.content) == (204, b"")
    assert (await local.get(place)).status_code == 404
    assert list((tmp_path / "feedback/pictures").iterdir()) == []


@pytest.mark.parametrize("consent", ["", "false", "True", "yes", "1"])
async def test_nothing_is_kept_or_logged_without_consent(
    local: httpx.AsyncClient, consent: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "mien"), capture_logs() as logs:
        answer = await give(local, consent=consent)
    assert answer.status_code == 422
    assert "consent is not true" in answer.json()["error"]
    assert not (tmp_path / "feedback").exists()
    assert "PNG" not in f"{logs}{caplog.text}"


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"predicted": "joyful"}, 422, "predicted is 'joyful': give one of angry"),
        ({"corrected": ""}, 422, "corrected is ''"),
        ({"corrected": "happy"}, 422, "nothing to correct"),
        ({"release": "latest"}, 422, "release is 'latest'"),
        ({"contributor": "a\0b"}, 422, "contributor may have"),
        ({"contributor": "x" * 65}, 422, "contributor may have"),
    ],
)
async def test_wrong_fields_are_named(
    local: httpx.AsyncClient, fields: dict[str, str], status: int, words: str, tmp_path: Path
) -> None:
    answer = await give(local, **fields)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]
    assert not (tmp_path / "feedback").exists()


@pytest.mark.parametrize(
    ("image", "status", "words"),
    [
        (b"", 400, "No image"),
        (b"GIF89a" + bytes(64), 415, "not a JPG, PNG or WebP"),
        (face()[:5000], 422, "truncated or damaged"),
        (face(width=96, height=48), 422, "96 x 48"),
        (face() + bytes(300_000), 413, "262,144 bytes"),
    ],
)
async def test_a_picture_that_cannot_be_used_is_refused(
    local: httpx.AsyncClient, image: bytes, status: int, words: str, tmp_path: Path
) -> None:
    answer = await give(local, image)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert not (tmp_path / "feedback").exists()


async def test_a_bomb_is_refused_by_its_header(local: httpx.AsyncClient) -> None:
    with io.BytesIO() as file:
        Image.new("L", (MAX_PIXELS // 1024 + 1, 1024)).save(file, "PNG")
        answer = await give(local, file.getvalue())
    assert answer.status_code == 413


async def test_metadata_of_the_file_is_not_kept(app: FastAPI, local: httpx.AsyncClient) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at my home"
    with io.BytesIO() as file:
        Image.open(io.BytesIO(face())).save(file, "JPEG", exif=exif)
        sent = file.getvalue()
    assert b"at my home" in sent
    identifier = (await give(local, sent)).json()["id"]
    kept = desk(app).store.example(identifier, "operator:me")
    assert b"at my home" not in kept
    assert not Image.open(io.BytesIO(kept)).getexif()


async def test_a_worker_process_reads_the_picture(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    crops = desk(app).crops
    try:
        kept = await crops.read(face(width=300, height=300))
    finally:
        await crops.close()
    assert Image.open(io.BytesIO(kept)).size == (96, 96)


async def test_a_gateway_that_others_reach_takes_feedback_only_if_told(make_app: MakeApp) -> None:
    public = {"host": "0.0.0.0", "require_keys": False}
    async with calling(make_app(public), "gateway") as client:
        assert (await client.get("/v1/feedback/terms")).json()["enabled"] is False
        assert (await give(client)).status_code == 403
    async with calling(make_app(public, enabled=True), "gateway") as client:
        receipt = (await give(client)).json()
    # What was taken can be erased although nothing more is.
    async with calling(make_app(public, enabled=False), "gateway") as client:
        headers = {"X-Erasure-Token": receipt["erasure_token"]}
        assert (await client.delete(f"/v1/feedback/{receipt['id']}", headers=headers)).status_code == 204


def reviewing(identifier: str) -> list[tuple[str, str, dict[str, str] | None]]:
    place = f"/v1/feedback/{identifier}"
    return [
        ("GET", "/v1/feedback", None),
        ("GET", place, None),
        ("GET", f"{place}/picture", None),
        ("POST", f"{place}/review", {"decision": "accepted"}),
        ("DELETE", place, None),
    ]


async def statuses(client: httpx.AsyncClient, identifier: str) -> list[int]:
    requests = reviewing(identifier)
    return [(await client.request(method, path, json=body)).status_code for method, path, body in requests]


async def test_only_a_reviewers_key_reviews(make_app: MakeApp, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    page, boss = keys.add("page"), keys.add("boss")
    app = make_app({"host": "0.0.0.0"}, enabled=True, reviewers="boss")
    async with calling(app, key=page) as client:
        receipt = (await give(client)).json()
        assert await statuses(client, receipt["id"]) == [403] * 5
    async with calling(app) as client:
        assert await statuses(client, receipt["id"]) == [401] * 5
        assert (await give(client)).status_code == 401
    async with calling(app, key=boss) as client:
        assert await statuses(client, receipt["id"]) == [200, 200, 200, 200, 204]
        assert await statuses(client, receipt["id"]) == [200, 404, 404, 404, 404]
    ids = {key.name: key.id for key in keys.entries()}
    given_by, *rest = [(entry.actor, entry.action) for entry in desk(app).store.audit()]
    assert given_by == (f"key:{ids['page']}", "given")
    assert {actor for actor, _ in rest} == {f"key:{ids['boss']}"}


async def test_a_token_erases_where_keys_are_needed(make_app: MakeApp, tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "keys.json").add("page")
    app = make_app({"require_keys": True})
    async with calling(app, key=key) as client:
        receipt = (await give(client)).json()
    async with calling(app) as client:
        place = f"/v1/feedback/{receipt['id']}"
        assert (await client.delete(place, headers={"X-Erasure-Token": "wrong"})).status_code == 404
        assert (await client.delete(place, headers={"X-Erasure-Token": receipt["erasure_token"]})).status_code == 204


@pytest.mark.parametrize(
    ("gateway", "host"),
    [
        ({}, "evil.example"),  # whose name points to this machine
        ({"host": "0.0.0.0", "require_keys": False}, "127.0.0.1"),
    ],
)
async def test_without_keys_only_this_machine_reviews(make_app: MakeApp, gateway: dict[str, object], host: str) -> None:
    app = make_app(gateway, enabled=True)
    identifier = desk(app).store.add(given(), "anonymous").id
    async with calling(app, host) as client:
        assert await statuses(client, identifier) == [403] * 5
    assert desk(app).store.find(identifier).state == "pending"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/feedback?state=erasing", None, 422),
        ("GET", "/v1/feedback?limit=501", None, 422),
        ("GET", "/v1/feedback?contributor=%00", None, 422),
        ("GET", "/v1/feedback/%00", None, 404),
        ("GET", f"/v1/feedback/{UNKNOWN}", None, 404),
        ("GET", f"/v1/feedback/{UNKNOWN}/picture", None, 404),
        ("POST", f"/v1/feedback/{UNKNOWN}/review", {"decision": "accepted"}, 404),
        ("POST", f"/v1/feedback/{UNKNOWN}/review", {"decision": "maybe"}, 422),
        ("POST", f"/v1/feedback/{UNKNOWN}/review", None, 422),
        ("DELETE", "/v1/feedback/x", None, 404),
        ("POST", "/v1/feedback", None, 400),
    ],
)
async def test_bad_requests_are_refused_in_a_sentence(
    local: httpx.AsyncClient, method: str, path: str, body: object, status: int
) -> None:
    answer = await local.request(method, path, json=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


async def test_corrections_are_limited_by_rate_and_number(make_app: MakeApp) -> None:
    async with calling(make_app(per_minute=2, max_stored=1)) as client:
        answers = [await give(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 507, 429]
    assert "retry-after" in answers[2].headers


async def test_a_database_that_is_away_is_an_answer_and_its_place_stays_secret(make_app: MakeApp) -> None:
    async with calling(make_app(database="postgresql://me:secret@127.0.0.1:9/x")) as client:
        answer = await give(client)
        assert (await client.get("/health")).status_code == 200
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "secret" not in answer.text


async def test_what_is_too_old_is_erased_while_the_gateway_runs(app: FastAPI, clock: Clock) -> None:
    store = desk(app).store
    store.add(given(), "anonymous")
    clock.wait(timedelta(days=181))
    async with desk(app), asyncio.timeout(30):
        while await asyncio.to_thread(lambda: store.entries()[1]):
            pass
    assert [entry.actor for entry in store.audit()] == ["anonymous", "retention", "retention"]


def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_FEEDBACK_RETENTION_DAYS", "0")
    with pytest.raises(SettingsError, match="MIEN_FEEDBACK_RETENTION_DAYS is '0'"):
        FeedbackSettings()
    monkeypatch.delenv("MIEN_FEEDBACK_RETENTION_DAYS")
    monkeypatch.setenv("MIEN_FEEDBACK", "perhaps")
    with pytest.raises(SettingsError, match="MIEN_FEEDBACK is 'perhaps'"):
        FeedbackSettings()
    with pytest.raises(SettingsError, match="no setting 'retention'"):
        FeedbackSettings(retention=1, enabled=True)
