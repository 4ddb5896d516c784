"""Why the server's port and this client's TLS settings do not go together, in words.

gRPC tells little of a connection that was refused, and at a deadline nothing; so a client that reaches nobody shakes
hands once more with Python's own TLS.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from mien.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from mien.settings import ClientSettings

TIMEOUT_S = 1.0
"""For one endpoint: a caller waits for it."""

REPEAT_S = 10.0
"""So long an answer holds for a client: under a flood of failures a server shall not be asked at each."""

_CERTIFICATE_EXPIRED, _NAME_MISMATCH, _ADDRESS_MISMATCH = 10, 62, 64
"""OpenSSL's X509_V_ERR_…"""

_WRONG_CALLER = {
    "CERTIFICATE_REQUIRED": "it wants to see a certificate; give tls_client_cert and tls_client_key (MIEN_TLS_…)",
    "UNKNOWN_CA": "it does not know the CA of the certificate in tls_client_cert; ask its operator for another one",
    "CERTIFICATE_EXPIRED": "the certificate in tls_client_cert has expired; renew it",
}
"""What a server says of a client's certificate; others it just does not like."""


def context(settings: ClientSettings) -> ssl.SSLContext:
    """How to shake hands with a server of gRPC.

    Raises:
        SettingsError: a PEM file cannot be read or does not hold what it should.
    """
    checked = ssl.create_default_context()
    checked.set_alpn_protocols(["h2"])
    if settings.tls_root_ca is not None:
        _check_pem("tls_root_ca", settings.tls_root_ca)
        checked = _trusting(settings.tls_root_ca)
    if settings.tls_client_cert is not None and settings.tls_client_key is not None:
        for name in ("tls_client_cert", "tls_client_key"):
            _check_pem(name, getattr(settings, name))
        try:
            checked.load_cert_chain(settings.tls_client_cert, settings.tls_client_key, password=b"")
        except ssl.SSLError as error:
            raise SettingsError(
                f"Settings tls_client_cert (MIEN_TLS_CLIENT_CERT) and tls_client_key (MIEN_TLS_CLIENT_KEY) are"
                f" {settings.tls_client_cert} and {settings.tls_client_key}, {unusable_pair(error)}."
            ) from error
    return checked


def unusable_pair(error: ssl.SSLError) -> str:
    """Why a certificate and a key cannot be used, to go on after their names."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return "which do not belong together: give the key that the certificate was made for"
    return "which are damaged, or not a certificate chain and its key without a password, both as PEM"


def _trusting(root_ca: Path) -> ssl.SSLContext:
    try:
        trusting = ssl.create_default_context(cafile=root_ca)
    except ssl.SSLError as error:
        raise SettingsError(
            f"Setting tls_root_ca (MIEN_TLS_ROOT_CA) is {root_ca}, which holds no certificate of a CA as PEM."
        ) from error
    trusting.set_alpn_protocols(["h2"])
    return trusting


def _check_pem(name: str, path: Path) -> None:
    where = f"Setting {name} (MIEN_{name.upper()}) is {path}, which"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{where} cannot be read: {error.strerror or error}.") from error
    if b"-----BEGIN " not in content:
        raise SettingsError(f"{where} is not a PEM file.")


class Handshakes:
    """Tries out the endpoints of a client, now and then.

    Args:
        settings: of the client.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._again_s = 0.0
        self._refusal: str | None = None

    def refusal(self) -> str | None:
        """Why no connection comes about, as far as TLS has to do with it: a sentence without its end.

        It takes up to a second for each endpoint.
        """
        with self._lock:
            if time.monotonic() >= self._again_s:
                self._refusal = next(filter(None, map(self._try, self._settings.endpoints)), None)
                self._again_s = time.monotonic() + REPEAT_S
            return self._refusal

    def _try(self, endpoint: str) -> str | None:
        host, _, port = re.sub("^dns://[^/]*/", "", endpoint).rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as connection:
                if not self._settings.uses_tls:
                    reason = _without_tls(connection)
                else:
                    reason = _with_tls(connection, self._settings, self._settings.tls_server_name or host.strip("[]"))
        except (OSError, SettingsError):  # nobody listens, or says nothing: not a matter of TLS
            return None
        return f"{endpoint} and this client do not come together: {reason}" if reason else None


def _without_tls(connection: socket.socket) -> str | None:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE  # nothing is sent: it is only seen whether TLS is spoken
    anybody.set_alpn_protocols(["h2"])
    try:
        anybody.wrap_socket(connection).close()
    except ssl.SSLError:
        return None
    return (
        "it speaks TLS; set tls_root_ca (MIEN_TLS_ROOT_CA) to its CA's certificate, or tls (MIEN_TLS=true) for a public"
        " CA's"
    )


def _with_tls(connection: socket.socket, settings: ClientSettings, name: str) -> str | None:
    try:
        with context(settings).wrap_socket(connection, server_hostname=name) as secured:
            is_heard = bool(secured.recv(1))  # with HTTP/2 a server speaks first
    except ssl.SSLCertVerificationError as error:
        return _wrong_server(error, settings, name)
    except ssl.SSLError as error:
        return _wrong_talk(error)
    if is_heard:
        return None
    if settings.tls_client_cert is None:
        return _WRONG_CALLER["CERTIFICATE_REQUIRED"]
    return "it hangs up on the certificate in tls_client_cert, which has expired or is not of a CA that it knows"


def _wrong_server(error: ssl.SSLCertVerificationError, settings: ClientSettings, name: str) -> str:
    if error.verify_code == _CERTIFICATE_EXPIRED:
        return (
            "its certificate, or its CA's, has expired; its operator must renew it (or this machine's clock is wrong)"
        )
    if error.verify_code in (_NAME_MISMATCH, _ADDRESS_MISMATCH):
        return f"its certificate is not for {name!r}; set tls_server_name (MIEN_TLS_SERVER_NAME) to a name in it"
    trusted = str(settings.tls_root_ca) if settings.tls_root_ca is not None else "those of this system"
    return (
        f"its certificate is not of a CA in {trusted} ({error.verify_message}); set tls_root_ca (MIEN_TLS_ROOT_CA) to"
        " its CA's certificate"
    )


def _wrong_talk(error: ssl.SSLError) -> str | None:
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
        return "it speaks no TLS; leave out tls and the TLS files (MIEN_TLS…), or give the endpoint's TLS port"
    if "_ALERT_" not in reason:
        return None
    told = reason.partition("_ALERT_")[2]
    return _WRONG_CALLER.get(told, f"it does not like this client's TLS ({told.lower().replace('_', ' ')})")
