"""Row 4: the disk fills while a release is published and while a correction is kept. Training: test_training_fit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from mien.contract import EMOTION
from serving import ModelRepository, PublishError, publish
from serving.repository import install_shipped
from tests.conftest import server_settings
from tests.disks import fill, small_disk
from tests.gateways import running_gateway
from tests.releases import export_variant

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(4)]


def test_a_full_disk_is_named_by_the_publisher_and_changes_nothing(
    tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    chance = scale.chance("full disk of a repository")
    settings = server_settings(tmp_path)
    export = export_variant(settings, tmp_path / "export", favour=3)
    size = sum(path.stat().st_size for path in export.rglob("*") if path.is_file())
    count = scale.of(full=12, short=3)
    with small_disk(tmp_path / "disk", size_mib=64) as disk:
        repository = install_shipped(ModelRepository(settings.shipped_repository), disk / "repository")
        for _ in range(count):
            filler = fill(disk, leave=chance.randrange(size // 2))
            with pytest.raises(PublishError, match=rf"The disk of {repository.path} is full"):
                publish(export, repository, EMOTION)
            assert repository.releases(EMOTION) == [1]
            assert {path.name for path in (repository.path / ".releases").iterdir()} == {"lock"}
            repository.verify(EMOTION)
            filler.unlink()
        assert publish(export, repository, EMOTION).manifest.release == 2
    figures.add(f"publishing: {count} of {count} refused by the disk's name, nothing staged is left, 1 is intact")


def give(client: httpx.Client) -> httpx.Response:
    face = io.BytesIO()
    Image.effect_noise((96, 96), 80).convert("RGB").save(face, "PNG")
    fields = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}
    return client.post("/v1/feedback", files={"image": ("face.png", face.getvalue())}, data=fields)


def test_a_correction_that_finds_no_room_is_refused_and_those_kept_stay(
    tmp_path: Path, scale: Scale, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = scale.chance("full disk of the feedback")
    count = scale.of(full=20, short=4)
    folder = tmp_path / "gateway"
    folder.mkdir()
    with small_disk(tmp_path / "disk", size_mib=4) as disk:
        places = {
            "DATABASE": f"sqlite:///{disk}/feedback.db",
            "PICTURES": f"{disk}/pictures",
            "KEY_FILE": f"{disk}/key",
        }
        for name, value in (places | {"PER_MINUTE": "1000"}).items():
            monkeypatch.setenv(f"MIEN_FEEDBACK_{name}", value)
        # Nothing need answer at the endpoint: a correction is not for the model server.
        with running_gateway("127.0.0.1:9", folder) as gateway, gateway.client() as client:
            kept = [give(client).raise_for_status().json() for _ in range(3)]
            refused = 0
            for _ in range(count):
                filler = fill(disk, leave=chance.randrange(24_000))
                answer = give(client)
                filler.unlink()
                if answer.status_code == 201:  # there was just room for it
                    kept.append(answer.json())
                    continue
                refused += 1
                assert answer.status_code == 503, answer.text
                assert client.get("/health").is_success
            assert refused
            kept.append(give(client).raise_for_status().json())
            listed = client.get("/v1/feedback", params={"limit": 500}).json()
            assert {entry["id"] for entry in listed["corrections"]} == {receipt["id"] for receipt in kept}
            for receipt in kept:
                assert client.get(f"/v1/feedback/{receipt['id']}/picture").is_success
            left = {path.name for path in (disk / "pictures").iterdir()} - {receipt["id"] for receipt in kept}
            log = gateway.log
    assert not left, "pictures of refused corrections"
    assert "No space left on device" in log or "disk is full" in log
    assert "Traceback" not in log
    figures.add(
        f"feedback: {refused} of {count} refused (503, the log names the disk), all {len(kept)} kept are readable"
    )
