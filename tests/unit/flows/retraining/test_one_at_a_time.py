"""Two retrainings on one state folder, in two processes."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

from flows.retraining.one_at_a_time import only_run

OTHER = """
import logging, sys, uuid
from pathlib import Path
from flows.retraining.one_at_a_time import only_run
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with only_run(Path(sys.argv[1]), uuid.uuid4()):
    print("it works", flush=True)
"""


def test_the_second_works_when_the_first_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    with only_run(tmp_path, uuid.uuid4()):
        other = subprocess.Popen(command, cwd=Path(__file__).parents[4], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert "this one waits" in other.stdout.readline()
    assert other.communicate(timeout=30) == ("it works\n", None)
    assert other.returncode == 0
