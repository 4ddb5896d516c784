"""A release on its way from one host's repository, through a bucket, to another host's running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flows import release
from mien import EmotionClient
from mien.contract import EMOTION
from serving import ModelRepository, publish
from serving.checkout import check_out
from serving.repository import install_shipped
from serving.store import open_store
from tests.conftest import server_settings
from tests.releases import export_variant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeServer

pytestmark = pytest.mark.integration


def sync_and_promote() -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        release.main(["sync", "--promote"])


def test_a_server_serves_what_another_host_has_made_current(
    make_server: MakeServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"s3://{bucket}/mien", EMOTION)
    shipped = ModelRepository(server_settings(tmp_path).shipped_repository)
    elsewhere = install_shipped(shipped, tmp_path / "elsewhere")
    publish(export_variant(server_settings(tmp_path), tmp_path / "export", favour=3), elsewhere, EMOTION)
    store.push(elsewhere, 1)
    store.push(elsewhere, 2)
    served = tmp_path / "served"
    check_out({store: 1}, served)
    environment = {
        "ENSEMBLES": EMOTION.name,
        "STATE": tmp_path / "state",
        "RELEASE_STORE": store.url,
        "MODEL_REPOSITORY": served,
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"MIEN_{name}", str(value))
    server = make_server(tmp_path / "state", model_repository=served, shipped_repository=served)
    with server, EmotionClient(server.endpoint) as client:
        faces = EMOTION.input.zeros(1)
        assert client.classify(faces).model_versions == ("1",)
        store.set_current(2, expected=None)
        sync_and_promote()
        assert client.classify(faces).model_versions == ("2",)
        store.set_current(1, expected=2)
        sync_and_promote()
        assert client.classify(faces).model_versions == ("1",)
