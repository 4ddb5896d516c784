"""Who publishes or promotes and is killed on the way, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from serving import ModelRepository, TritonServer

_PUBLISHER = """
import os, pathlib, signal, sys
from mien.contract import EMOTION
from serving import ModelRepository, publish
real, left = pathlib.Path.rename, [int(sys.argv[3])]
def rename(self, target):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
pathlib.Path.rename = rename
publish(pathlib.Path(sys.argv[1]), ModelRepository(pathlib.Path(sys.argv[2])), EMOTION)
"""

_PROMOTER = """
import os, pathlib, signal, sys
from mien.contract import EMOTION
from serving import ModelRepository, Promoter, ServerControl
from serving.ledger import Ledger
left = [int(sys.argv[4])]
def dying(real):
    def call(*args, **kwargs):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
for name in ("load", "is_ready", "infer"):
    setattr(ServerControl, name, dying(getattr(ServerControl, name)))
Ledger.finish = dying(Ledger.finish)
with ServerControl(sys.argv[2], sys.argv[3]) as control:
    Promoter(ModelRepository(pathlib.Path(sys.argv[1])), EMOTION, control).promote(2)
"""


def publish_and_die(export: Path, repository: ModelRepository, step: int) -> bool:
    """Publish, and be killed (SIGKILL) before the rename of that number, from 1 on; False if there are not so many."""
    return _died(_PUBLISHER, str(export), str(repository.path), str(step))


def promote_and_die(server: TritonServer, step: int) -> bool:
    """Promote release 2, and be killed before the call of that number to the server or the ledger; False as above."""
    return _died(_PROMOTER, str(server.settings.model_repository), server.endpoint, server.admin_key, str(step))


def _died(program: str, *arguments: str) -> bool:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0
