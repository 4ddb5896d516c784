from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mien.errors import SettingsError
from mien.gateway.app import create_app
from mien.gateway.command import main
from mien.gateway.keys import KeyFile
from mien.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("host", "require", "needed"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("10.0.0.7", None, True),
        ("gateway.example", None, True),
        ("127.0.0.1", True, True),
        ("0.0.0.0", False, False),
    ],
)
def test_keys_are_needed_where_others_can_call(host: str, require: bool | None, needed: bool) -> None:
    assert GatewaySettings(host=host, require_keys=require).needs_keys is needed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": "80800"}, "MIEN_GATEWAY_PORT"),
        ({"tls_key": "key.pem"}, "give both or neither"),
        ({"trusted_proxies": "10.0.0.0/8,proxy"}, "MIEN_GATEWAY_TRUSTED_PROXIES"),
        ({"portt": "1"}, "no setting 'portt'"),
    ],
)
def test_a_senseless_setting_is_named(values: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        GatewaySettings(**values)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7")
    monkeypatch.setenv("MIEN_GATEWAY_PORT", "9000")
    settings = GatewaySettings()
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.7")
    assert settings.port == 9000


def test_without_keys_no_gateway_listens_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_GATEWAY_HOST", "0.0.0.0")
    monkeypatch.setenv("MIEN_GATEWAY_KEYS_FILE", str(tmp_path / "keys.json"))
    assert main([]) == 2
    assert "keys add" in capsys.readouterr().err
    KeyFile(tmp_path / "keys.json").add("somebody")
    create_app(GatewaySettings())
