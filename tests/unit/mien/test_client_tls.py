"""Connections under TLS, with certificates made for the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
import trustme

from mien import AsyncEmotionClient, ClientSettings, EmotionClient, ServerUnavailableError, SettingsError
from tests.unit.mien.both_clients import BOTH, Run
from tests.unit.mien.scripted_triton import Servers, numbered_faces

if TYPE_CHECKING:
    from pathlib import Path


class Certificates:
    def __init__(self, folder: Path) -> None:
        authority, self._clients = trustme.CA(), trustme.CA()
        self.server = authority.issue_cert("localhost", "127.0.0.1")
        self.ca_file, self.cert_file, self.key_file = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        client = self._clients.issue_cert("me@example.org")
        authority.cert_pem.write_to_path(self.ca_file)
        client.private_key_pem.write_to_path(self.key_file)
        self.cert_file.write_bytes(b"".join(part.bytes() for part in client.cert_chain_pems))

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        chain = b"".join(part.bytes() for part in self.server.cert_chain_pems)
        roots = self._clients.cert_pem.bytes() if mutual else None
        return grpc.ssl_server_credentials([(self.server.private_key_pem.bytes(), chain)], roots, mutual)


@BOTH
def test_tls_with_a_ca_of_our_own(servers: Servers, tmp_path: Path, run: Run) -> None:
    certificates = Certificates(tmp_path)
    server = servers.start(certificates.credentials(mutual=False))
    trusting = ClientSettings(endpoints=server.endpoint, tls_root_ca=certificates.ca_file)
    assert len(run(trusting, numbered_faces(1))) == 1
    with pytest.raises(ServerUnavailableError):  # the system's CAs did not sign it
        run(ClientSettings(endpoints=server.endpoint, tls=True, retry_attempts=1), numbered_faces(1))
    with pytest.raises(ServerUnavailableError):
        run(ClientSettings(endpoints=server.endpoint, retry_attempts=1), numbered_faces(1))


@BOTH
def test_mutual_tls_wants_the_clients_certificate(servers: Servers, tmp_path: Path, run: Run) -> None:
    certificates = Certificates(tmp_path)
    server = servers.start(certificates.credentials(mutual=True))
    known = ClientSettings(
        endpoints=server.endpoint,
        tls_root_ca=certificates.ca_file,
        tls_client_cert=certificates.cert_file,
        tls_client_key=certificates.key_file,
    )
    assert len(run(known, numbered_faces(1))) == 1
    stranger = ClientSettings(endpoints=server.endpoint, tls_root_ca=certificates.ca_file, retry_attempts=1)
    with pytest.raises(ServerUnavailableError):
        run(stranger, numbered_faces(1))


def test_a_certificate_that_cannot_be_read_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"tls_root_ca \(MIEN_TLS_ROOT_CA\).*absent\.pem"):
        EmotionClient(ClientSettings(tls_root_ca=tmp_path / "absent.pem"))
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(SettingsError, match="not a PEM file"):
        AsyncEmotionClient(ClientSettings(tls_root_ca=tmp_path / "text.pem"))
