"""Processes that share one study, without training: for tests of its storage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from training.study import open_study

IDENTITY = {"seed": 0, "faces": 28}
TRIALS = 12

WORKER = """
import json, sys
from pathlib import Path
from training.study import join_study, started, turn

directory, identity, trials, storage = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with join_study(directory, identity, 2, storage or None) as study:
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        with turn(directory):
            if started(study) >= trials:
                break
            trial = study.ask()
            value = trial.suggest_float("dropout", 0, 1)
        for step in range(5):
            trial.report(value, step)
            trial.set_user_attr("seconds", step)
        study.tell(trial, value)
        print(trial.number, flush=True)
"""


def share(directory: Path, storage: str | None = None) -> list[int]:
    """Numbers of the trials that two processes took at the same time from a study of `TRIALS`."""
    with open_study(directory, IDENTITY, 2, storage):
        pass
    command = [sys.executable, "-c", WORKER, str(directory), json.dumps(IDENTITY), str(TRIALS), storage or ""]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, cwd=Path(__file__).parents[3], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n", worker.communicate()[1]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    taken = []
    for worker in workers:
        output, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        taken += [int(line) for line in output.split()]
    return sorted(taken)
