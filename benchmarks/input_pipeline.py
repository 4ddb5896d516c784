"""What feeding the network costs: training steps with fresh faces beside steps with one fixed batch, in turn.

    python -m benchmarks.input_pipeline --config quick --rounds 5 --steps 40

Made faces stand in for a dataset: how long a step takes does not depend on what is in the pictures. Keras' backend is
the environment's (KERAS_BACKEND).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.measure import Rounds, Spread
from mien.contract import EMOTION_LABELS, PIXELS
from mien.errors import MienError
from training import networks
from training.config_file import open_config
from training.dataset import Split
from training.fit import Batches
from training.learner import Learner


class SameBatch(keras.utils.PyDataset):  # type: ignore[misc]  # Keras carries no types
    """The first batch of another dataset, again and again."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._length, self._batch = len(batches), batches[0]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - what a batch is, is the other dataset's business
        return self._batch


def run(config_name: str, rounds: int, steps: int, console: Console) -> Rounds:
    """Milliseconds a step both ways, and their ratio, round by round."""
    config = open_config(config_name)
    rng = np.random.default_rng(0)
    count = steps * config.batch_size
    images = rng.integers(0, 256, (count, *PIXELS.shape), np.uint8)
    labels = rng.integers(0, len(EMOTION_LABELS), count).astype(np.int64)
    batches = Batches(Split(images, labels, ("",) * count), config.batch_size, config.seed)
    learner = Learner(networks.build(config.network, config.dropout), config)
    learner(batches[0][0])
    learner.compile(optimizer=keras.optimizers.SGD(1e-3), jit_compile=config.compile_xla)
    ways = {"one fixed batch, ms a step": SameBatch(batches), "fresh faces, ms a step": batches}
    for data in ways.values():
        learner.fit(data, epochs=1, shuffle=False, verbose=0)  # compiles
    figures = Rounds()
    for _ in track(range(rounds), "Measuring", console=console):
        taken = {}
        for name, data in ways.items():
            begin = time.perf_counter()
            learner.fit(data, epochs=1, shuffle=False, verbose=0)
            taken[name] = figures.add(name, (time.perf_counter() - begin) / steps * 1e3)
        fixed, fresh = taken.values()
        figures.add("fresh / fixed", fresh / fixed)
    return figures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="quick", help="configuration whose network and batches are used")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured (default 5)")
    parser.add_argument("--steps", type=int, default=40, help="training steps of one measurement (default 40)")
    arguments = parser.parse_args()
    console = Console()
    try:
        figures = run(arguments.config, arguments.rounds, arguments.steps, console)
    except MienError as error:
        sys.exit(f"Error: {error}")
    facts = machine()
    console.print(f"{facts['date']} · {facts['machine']}\nkeras {keras.__version__} on {keras.backend.backend()}")
    table = Table("figure", "median (least-most)")
    for name, values in figures.values.items():
        table.add_row(name, Spread.of(values).text())
    console.print(table)


if __name__ == "__main__":
    main()
