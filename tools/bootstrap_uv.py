"""Put a pinned uv into a folder, with nothing but Python's standard library.

Debian's python3 brings neither pip nor a working venv unless asked for, so the Makefile cannot count on them. A wheel
is a zip file with a known digest, and uv is one executable in it. `UV_DEFAULT_INDEX` names another package index.

    python3 tools/bootstrap_uv.py .tools
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

VERSION = "0.13.8"
SHA256 = {
    ("Linux", "x86_64"): "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ("Linux", "aarch64"): "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
    ("Darwin", "arm64"): "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
}


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - https, or what the user set
        return bytes(answer.read())


def _wheel(digest: str) -> bytes:
    """Download the wheel with that SHA-256 from the package index, which lists the digest in each link."""
    index = os.environ.get("UV_DEFAULT_INDEX", "https://pypi.org/simple").rstrip("/") + "/uv/"
    link = re.search(rf'href="([^"#]+)#sha256={digest}"', _get(index).decode())
    if link is None:
        sys.exit(
            f"{index} does not list uv {VERSION} for this machine. Install uv {VERSION} yourself: make UV=/path/to/uv"
        )
    wheel = _get(urljoin(index, link[1]))
    if hashlib.sha256(wheel).hexdigest() != digest:
        sys.exit(
            f"{link[1]} came with another SHA-256 than {digest}: it was damaged or replaced on the way. Try again."
        )
    return wheel


def main(folder: str) -> None:
    """Leave `folder`/uv, executable."""
    machine = (platform.system(), platform.machine())
    if machine not in SHA256:
        sys.exit(f"No uv is pinned for {' '.join(machine)}. Install uv {VERSION} yourself: make UV=/path/to/uv")
    try:
        wheel = _wheel(SHA256[machine])
    except urllib.error.URLError as error:
        sys.exit(f"The package index cannot be reached ({error.reason}). Set UV_DEFAULT_INDEX, or: make UV=/path/to/uv")
    target = Path(folder) / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        part.write_bytes(archive.read(f"uv-{VERSION}.data/scripts/uv"))
    part.chmod(0o755)
    part.rename(target)


if __name__ == "__main__":
    main(sys.argv[1])
