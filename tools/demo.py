"""The demonstration: a real Triton, real photographs, faces over gRPC, a table and annotated pictures.

`make demo` sets up what this needs and runs it. The server takes free ports and stops at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from mien.errors import MienError
from serving.server import TritonServer
from serving.settings import read_settings

ROOT = Path(__file__).parents[1]
PORTRAITS = ROOT / "docs/portraits"


def main(pictures: list[str]) -> int:
    """Classify the faces of `pictures`, or of two public-domain portraits, and return `mien image`'s exit code."""
    state = read_settings().state / "demo"
    results = state / "pictures"
    results.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    print("Starting Triton …", flush=True)
    with TritonServer(read_settings(state=state, grpc_port=0, metrics_port=0)) as server:
        print(f"Triton answers at {server.endpoint} after {time.perf_counter() - begin:.1f} s.\n", flush=True)
        command = [sys.executable, "-m", "mien", "image", "--out", str(results)]
        environment = os.environ | {"MIEN_ENDPOINTS": server.endpoint}
        code = subprocess.run(
            [*command, *(pictures or sorted(os.path.relpath(portrait) for portrait in PORTRAITS.glob("*.jpg")))],
            env=environment,
            check=False,
        ).returncode
    print("\nTriton has stopped. Next: `make serve` keeps one running; then `.venv/bin/mien image YOUR_PHOTO.jpg`.")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MienError as error:
        sys.exit(f"Error: {error}")
