"""Which configuration serves most on this machine: tried on a Triton of its own, the best written as a config set.

    python -m benchmarks.tune --name tuned --callers 16 --seconds 2 --rounds 3

Tried are instances and threads of the classifier, instances of the preprocessing, queue delay and preferred batch sizes
of the classifier: every combination once, then the better half twice as often, until three are left. Every round
measures them in turn, the configuration as it is among them; a ratio is taken within a round. A simpler configuration
wins over one that is better by less than the margin, so that noise does not choose. `MIEN_CONFIG_SET=tuned make serve`
serves with the result; releases keep it up to date.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.measure import Spread, median_latency_ms, throughput
from mien import EmotionClient
from mien.contract import EMOTION, FACES
from mien.errors import MienError
from serving.configuration import write_config_set
from serving.repository import ModelRepository, install_shipped
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tritonclient.grpc.model_config_pb2 import ModelConfig

INSTANCES = (1, 2)
THREADS = (1, 2)
PREPROCESS_INSTANCES = (1, 2)
QUEUE_DELAYS_US = (0, 500)
PREFERRED_BATCHES: tuple[tuple[int, ...], ...] = ((), (8, 16))

FINALISTS = 3
WARM_UP_S = 0.3
"""Before each measurement: a model that has just been loaded answers half as many at first."""

MARGIN = 0.05
"""How much better than a simpler one a configuration must be."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is changed of the members' configurations.

    Attributes:
        instances: of the classifier.
        threads: of each of them.
        preprocess_instances: of the preprocessing.
        queue_delay_us: how long the classifier waits for a fuller batch.
        preferred_batches: batch sizes that it does not wait beyond.
    """

    instances: int
    threads: int
    preprocess_instances: int
    queue_delay_us: int
    preferred_batches: tuple[int, ...]

    def change_classifier(self, config: ModelConfig) -> None:
        """Apply to the classifier's configuration."""
        config.instance_group[0].count = self.instances
        config.parameters["intra_op_thread_count"].string_value = str(self.threads)
        config.dynamic_batching.max_queue_delay_microseconds = self.queue_delay_us
        del config.dynamic_batching.preferred_batch_size[:]
        config.dynamic_batching.preferred_batch_size.extend(self.preferred_batches)

    def change_preprocess(self, config: ModelConfig) -> None:
        """Apply to the preprocessing's configuration."""
        config.instance_group[0].count = self.preprocess_instances


@dataclass(slots=True)
class Trial:
    """A configuration and what was measured with it; `tuning` is None for the one there is."""

    tuning: Tuning | None
    faces_per_s: list[float]
    p50_ms: list[float]
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """Throughput over that of the configuration as it is, the median over the rounds."""
        return statistics.median(self.ratios) if self.ratios else 0.0


def grid() -> list[Tuning]:
    """Every combination, simple ones first; preferred sizes mean something only with a delay."""
    combinations = product(PREFERRED_BATCHES, QUEUE_DELAYS_US, PREPROCESS_INSTANCES, INSTANCES, THREADS)
    return [
        Tuning(instances, threads, preprocess, delay, preferred)
        for preferred, delay, preprocess, instances, threads in combinations
        if delay or not preferred
    ]


def best_of(trials: Sequence[Trial], margin: float = MARGIN) -> Trial:
    """The first, and so the simplest, that is within the margin of the highest ratio."""
    highest = max(trial.ratio for trial in trials)
    return next(trial for trial in trials if trial.ratio >= highest * (1 - margin))


def halve(trials: Sequence[Trial], least: int = FINALISTS) -> list[Trial]:
    """The better half, in the order they had, with the configuration as it is always among them."""
    keep = max(least, len(trials) // 2)
    better = sorted(trials[1:], key=lambda trial: trial.ratio, reverse=True)[: keep - 1]
    return [trial for trial in trials if trial is trials[0] or trial in better]


def write(tuning: Tuning | None, repository: Path, members: Sequence[str], name: str) -> None:
    """Write the config set `name` of both members: with `tuning`, or as their configuration is.

    Raises:
        RepositoryError: a configuration cannot be read or written.
    """
    preprocess, classifier = members
    write_config_set(repository / preprocess, name, tuning.change_preprocess if tuning else _as_it_is)
    write_config_set(repository / classifier, name, tuning.change_classifier if tuning else _as_it_is)


def _as_it_is(_config: ModelConfig) -> None:
    pass


class Bench:
    """A running Triton whose members take one configuration after the other."""

    def __init__(
        self,
        server: TritonServer,
        client: EmotionClient,
        members: Sequence[str],
        name: str,
        callers: int,
        seconds: float,
    ) -> None:
        self._server = server
        self._members = members
        self._client = client
        self._name = name
        self._callers = callers
        self._seconds = seconds

    def measure(self, trials: Sequence[Trial]) -> None:
        """One round: each in turn."""
        face = np.random.default_rng(0).integers(0, 256, (1, *FACES.shape), np.uint8)
        base = 0.0
        for trial in trials:
            self._load(trial.tuning)
            throughput(partial(self._client.classify, face), self._callers, WARM_UP_S)
            per_s = throughput(partial(self._client.classify, face), self._callers, self._seconds)
            base = base or per_s
            trial.faces_per_s.append(per_s)
            trial.ratios.append(per_s / base)
            trial.p50_ms.append(median_latency_ms(partial(self._client.classify, face), self._seconds / 2))

    def _load(self, tuning: Tuning | None) -> None:
        repository = self._server.settings.model_repository
        write(tuning, repository, self._members, self._name)
        with self._server.control() as control:
            for member in self._members:
                control.load(member)


def tune(name: str, callers: int, seconds: float, rounds: int, console: Console) -> tuple[list[Trial], Trial]:
    """Try, and write the best into the working copy of the model repository.

    Returns:
        all trials, the configuration as it is first, and the best.

    Raises:
        ServingError: the server does not start or refuses a configuration, or the repository cannot be used.
    """
    settings = read_settings()
    install_shipped(ModelRepository(settings.shipped_repository), settings.model_repository)
    with tempfile.TemporaryDirectory(prefix="mien-tune-") as folder:
        state = Path(folder)
        shutil.copytree(settings.model_repository, state / "models")
        apart = {"state": state, "model_repository": state / "models", "grpc_port": 0, "metrics_port": 0}
        trials = [Trial(None, [], [], []), *(Trial(tuning, [], [], []) for tuning in grid())]
        members = tuple(ModelRepository(state / "models").pointer(EMOTION).members)
        write(None, state / "models", members, name)  # it must be there when the server starts
        with (
            TritonServer(read_settings(config_set=name, **apart)) as server,
            EmotionClient(server.endpoint) as client,
        ):
            bench = Bench(server, client, members, name, callers, seconds)
            running = trials
            while len(running) > FINALISTS:
                for _ in track(range(rounds), f"{len(running)} configurations", console=console):
                    bench.measure(running)
                running = halve(running)
            for _ in track(range(2 * rounds), "The last three", console=console):
                bench.measure(running)
    best = best_of(running)
    write(best.tuning, settings.model_repository, members, name)
    return trials, best


def show(trials: Iterable[Trial], best: Trial, console: Console) -> None:
    """Print what was tried, the best first."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), caption="p50: of one caller; ratio: to the one as it is")
    for name in ("inst.", "threads", "prep.", "delay µs", "preferred", "faces/s", "p50 ms", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in sorted(trials, key=lambda trial: (len(trial.ratios), trial.ratio), reverse=True):
        tuning = trial.tuning
        cells = ("as is", "", "", "", "")
        if tuning:
            preferred = ",".join(map(str, tuning.preferred_batches)) or "-"
            numbers = (tuning.instances, tuning.threads, tuning.preprocess_instances, tuning.queue_delay_us)
            first, *others = map(str, numbers)
            cells = (first, *others, preferred)  # type: ignore[assignment]
        figures = (Spread.of(trial.faces_per_s).text(), f"{statistics.median(trial.p50_ms):.2f}", f"{trial.ratio:.2f}")
        table.add_row(*cells, *figures, style="bold" if trial is best else None)
    console.print(table)


def as_json(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Everything that was measured."""
    return [asdict(trial) for trial in trials]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="tuned", help="of the config set (default: tuned)")
    parser.add_argument("--callers", type=int, default=16, help="threads that call, one face a call (default 16)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default 2)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds before each halving (default 2)")
    parser.add_argument("--json", type=Path, help="also write all values here")
    arguments = parser.parse_args()
    console = Console()
    try:
        trials, best = tune(arguments.name, arguments.callers, arguments.seconds, arguments.rounds, console)
    except MienError as error:
        sys.exit(f"Error: {error}")
    facts = machine()
    console.print(f"{facts['date']} · {facts['machine']}\n{facts['software']}")
    show(trials, best, console)
    gain = "the configuration as it is" if best.tuning is None else f"{best.ratio:.2f} of what it served before"
    console.print(
        f"Written as config set {arguments.name!r}: {gain}. Serve with it: MIEN_CONFIG_SET={arguments.name} make serve"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(facts | {"trials": as_json(trials)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
