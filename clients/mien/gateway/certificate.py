"""The gateway's own certificate: looked at before it listens, for what uvicorn makes of a wrong one is a traceback."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from mien.errors import SettingsError
from mien.handshake import unusable_pair

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


def check(certificate: Path | None, key: Path | None) -> None:
    """Nothing, if both can be used, or there are none; that it is not valid now is only logged, for time may mend it.

    Raises:
        SettingsError: one cannot be read, or they cannot be used together.
    """
    if certificate is None or key is None:
        return
    for name, path in (("CERTIFICATE", certificate), ("KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"MIEN_GATEWAY_TLS_{name} is {path}, which cannot be read: {error.strerror or error}."
            ) from error
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=b"")
    except ssl.SSLError as error:
        raise SettingsError(
            f"MIEN_GATEWAY_TLS_CERTIFICATE and MIEN_GATEWAY_TLS_KEY are {certificate} and {key},"
            f" {unusable_pair(error)}."
        ) from error
    _warn_of_its_time(certificate)


def _warn_of_its_time(certificate: Path) -> None:
    first, *_ = x509.load_pem_x509_certificates(certificate.read_bytes())
    begin, end = first.not_valid_before_utc, first.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        validity = {"file": str(certificate), "from": begin.isoformat(), "until": end.isoformat()}
        logger.warning("certificate_not_valid", extra=validity)
