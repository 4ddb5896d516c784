"""How every peer is started."""

from __future__ import annotations

import argparse
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT = "PEER_ARGUMENTS"


@dataclass(frozen=True, slots=True)
class Arguments:
    """Where a peer listens and how it works.

    Attributes:
        port: on loopback.
        preprocess: the graph of `emotion_preprocess`.
        classifier: the graph of `emotion_classifier`.
        workers: processes that answer.
        threads: of ONNX Runtime in each of them.
        batch: faces that it may put together, where it can; 1 for none.
    """

    port: int
    preprocess: Path
    classifier: Path
    workers: int
    threads: int
    batch: int

    @classmethod
    def read(cls) -> Arguments:
        """From the command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--preprocess", type=Path, required=True)
        parser.add_argument("--classifier", type=Path, required=True)
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument("--threads", type=int, default=1)
        parser.add_argument("--batch", type=int, default=1)
        return cls(**vars(parser.parse_args()))

    def keep(self) -> None:
        """Leave them in the environment, for worker processes that see no command line."""
        os.environ[KEPT] = json.dumps({name: str(value) for name, value in asdict(self).items()})

    @classmethod
    def kept(cls) -> Arguments:
        """What the first process has left."""
        fields = json.loads(os.environ[KEPT])
        numbers = {name: int(fields[name]) for name in ("port", "workers", "threads", "batch")}
        return cls(preprocess=Path(fields["preprocess"]), classifier=Path(fields["classifier"]), **numbers)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
