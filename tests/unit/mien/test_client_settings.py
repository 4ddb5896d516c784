from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mien import ClientSettings, SettingsError, channel


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ENDPOINTS", "10.0.0.1:8001, 10.0.0.2:8001")
    monkeypatch.setenv("MIEN_DEADLINE_S", "2.5")
    monkeypatch.setenv("MIEN_DETECTOR", "haar")
    settings = ClientSettings()
    assert settings.endpoints == ("10.0.0.1:8001", "10.0.0.2:8001")
    assert (settings.deadline_s, settings.detector) == (2.5, "haar")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MIEN_DEADLINE_S", "soon"),
        ("MIEN_DEADLINE_S", "-1"),
        ("MIEN_DETECTOR", "eyes"),
        ("MIEN_ENDPOINTS", "localhost"),
        ("MIEN_ENDPOINTS", "http://localhost:8001"),
        ("MIEN_ENDPOINTS", "localhost:99999"),
        ("MIEN_ENDPOINTS", ","),
        ("MIEN_ENDPOINTS", "10.0.0.1:1,triton:1"),
        ("MIEN_ENDPOINTS", "10.0.0.1:1,[::1]:1"),
        ("MIEN_MAX_PIXELS", "0"),
        ("MIEN_YUNET_URL", "file:///etc/passwd"),
        ("MIEN_RETRY_ATTEMPTS", "9"),
        ("MIEN_SHADOW_SHARE", "1.5"),
        ("MIEN_CANARY_SHARE", "-0.1"),
    ],
)
def test_an_error_names_the_variable_and_the_value(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        ClientSettings()
    assert variable in str(caught.value)
    assert value.strip(",").split(",")[0] in str(caught.value)


def test_a_misspelt_setting_is_an_error() -> None:
    with pytest.raises(SettingsError, match="no setting 'endpoint'; there are: endpoints"):
        ClientSettings(endpoint="127.0.0.1:8001")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shadow_share": 0.6, "canary_share": 0.5}, r"shadow_share \(0.6\) and canary_share \(0.5\).*at most 1"),
        ({"canary_share": 0.1, "model_version": "1"}, r"model_version \(1\) insists on a release"),
    ],
)
def test_shares_that_cannot_be_kept_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ClientSettings(**values)


def test_certificate_and_key_go_together() -> None:
    with pytest.raises(SettingsError, match="tls_client_cert and tls_client_key"):
        ClientSettings(tls_client_cert=Path("cert.pem"))


@pytest.mark.parametrize(
    ("endpoints", "target"),
    [
        ("triton:8001", "dns:///triton:8001"),
        ("dns:///triton:8001", "dns:///triton:8001"),
        ("dns://127.0.0.1:8600/triton:8001", "dns://127.0.0.1:8600/triton:8001"),
        ("127.0.0.1:8001", "ipv4:127.0.0.1:8001"),
        ("10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
    ],
)
def test_endpoints_become_one_target(endpoints: str, target: str) -> None:
    assert channel.target(ClientSettings(endpoints=endpoints)) == target


def test_only_inference_is_retried() -> None:
    (method,) = channel.service_config(4)["methodConfig"]
    assert method["name"] == [{"service": "inference.GRPCInferenceService", "method": "ModelInfer"}]
    assert "methodConfig" not in channel.service_config(1)
    assert "perAttemptRecvTimeout" not in method["retryPolicy"]
    (method,) = channel.service_config(4, 2.5)["methodConfig"]
    assert method["retryPolicy"]["perAttemptRecvTimeout"] == "2.500s"


def test_only_impatient_callers_put_replicas_aside() -> None:
    """Without a time for attempts a channel is as plain as can be; with one, gRPC has to know the policy."""
    assert channel.service_config(4)["loadBalancingConfig"] == [{"round_robin": {}}]
    (policy,) = channel.service_config(4, 2.0)["loadBalancingConfig"]
    assert policy["outlier_detection_experimental"]["interval"] == "3.000s"
    assert channel.service_config(1, 2.0)["loadBalancingConfig"] == [{"round_robin": {}}]
