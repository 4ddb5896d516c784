"""BentoML with the two graphs: raw bytes in, raw bytes out.

Its dispatcher makes batches of arrays and lists only, which come as JSON: 27 KB a face become 100, so bytes serve more.
"""
# No `from __future__ import annotations`: BentoML looks at the annotations.

import os
import sys

import bentoml

from benchmarks.peers.arguments import Arguments
from benchmarks.peers.onnx_pair import OnnxPair
from benchmarks.peers.payload import faces_of

WORKERS = "PEER_WORKERS"
THREADS_THAT_CALL = 16


@bentoml.service(
    workers=int(os.environ.get(WORKERS, "1")),
    threads=THREADS_THAT_CALL,
    logging={"access": {"enabled": False}},
)
class Emotion:
    """The two graphs as a service."""

    def __init__(self) -> None:
        arguments = Arguments.kept()
        self._pair = OnnxPair(arguments.preprocess, arguments.classifier, arguments.threads)

    @bentoml.api  # type: ignore[untyped-decorator]
    def classify(self, faces: bytes, /) -> bytes:
        """Classify faces, (N, 96, 96, 3) RGB, to (N, 7) probabilities."""
        return self._pair(faces_of(faces)).tobytes()


def main() -> None:
    """Serve until a signal."""
    arguments = Arguments.read()
    arguments.keep()
    environment = {WORKERS: str(arguments.workers), "BENTOML_DO_NOT_TRACK": "True"}
    service = "benchmarks.peers.bentoml_server:Emotion"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(arguments.port)]
    os.execve(command[0], command, os.environ | environment)  # noqa: S606 - becomes BentoML's own command


if __name__ == "__main__":
    main()
