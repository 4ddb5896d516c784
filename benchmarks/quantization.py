"""What int8 gains on a CPU: the classifier as it is and quantized, in ONNX Runtime, in turn.

    python -m benchmarks.quantization DATA --rounds 5 --seconds 2

DATA is a dataset as `python -m training` takes it: its training faces give the int8 ranges, its validation faces both
accuracies. Every round measures both models in turn, and a Triton that serves the quantized one against the other in
process; ratios are taken within a round and shown as median (least-most).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.contestants import InProcess, SyncSdk
from benchmarks.machine import machine
from benchmarks.measure import Rounds, Spread, median_latency_ms
from benchmarks.serving import WORKLOADS, graphs, random_faces
from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION, EMOTION_CLASSIFIER, MAX_BATCH_SIZE, PIXELS
from mien.errors import MienError
from serving.server import TritonServer
from serving.settings import CHECKOUT, read_settings
from training.dataset import load
from training.export.manifest import save_manifest, sha256
from training.onnx_inference import OnnxModel
from training.quantize import quantize

SHIPPED = CHECKOUT / "model_repository"
THREADS = (1, 2)
BATCH_SIZES = (1, MAX_BATCH_SIZE)


def measure_round(rounds: Rounds, models: dict[str, dict[int, OnnxModel]], seconds: float) -> None:
    """One round: both models at every batch size and number of threads, in turn."""
    rng = np.random.default_rng(0)
    for threads in THREADS:
        for size in BATCH_SIZES:
            batch = rng.uniform(0, 255, (size, *PIXELS.shape)).astype(np.float32)
            where = f"{threads} thread{'s' * (threads > 1)}, batch {size}"
            times = {
                name: rounds.add(
                    f"{name}, {where}, p50 ms", median_latency_ms(partial(by_threads[threads], batch), seconds)
                )
                for name, by_threads in models.items()
            }
            rounds.add(f"throughput int8 / float32, {where}", times["float32"] / times["int8"])


def repository_with(classifier: Path, folder: Path) -> Path:
    """A copy of the shipped model repository in `folder`; its release 1 has another classifier of the same tensors."""
    repository = shutil.copytree(SHIPPED, folder)
    name = f"{EMOTION_CLASSIFIER.name}/1/model.onnx"
    shutil.copyfile(classifier, repository / name)
    path = repository / EMOTION.name / "1" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    save_manifest(manifest | {"files": manifest["files"] | {name: sha256(classifier)}}, path)
    return repository


def measure_server(rounds: Rounds, sdk: SyncSdk, in_process: InProcess, seconds: float) -> None:
    """One round: both float32 in process and int8 through the server, with many callers."""
    faces = random_faces(MAX_BATCH_SIZE)
    for workload in WORKLOADS:
        calls = [
            side.calls_per_s(faces[: workload.faces], workload.callers, seconds) * workload.faces
            for side in (in_process, sdk)
        ]
        figure = f"{workload.callers} x {workload.faces}"
        rounds.add(f"float32 in process, {figure}, faces/s", calls[0])
        rounds.add(f"int8 through the server, {figure}, faces/s", calls[1])
        rounds.add(f"int8 through the server / float32 in process, {figure}", calls[1] / calls[0])


def run(data: Path, source: Path, rounds: int, seconds: float, console: Console) -> dict[str, Any]:
    """Quantize, measure; returns everything that the table shows."""
    figures = Rounds()
    console.print(f"Reading {data} …")
    dataset = load(data)
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-bench-")))
        made = quantize(source, dataset, state / "int8.onnx")
        if made.path is None:
            return {**machine(), "verdict": made.verdict, "figures": {}}
        files = {"float32": source, "int8": made.path}
        models = {name: {threads: OnnxModel(path, threads) for threads in THREADS} for name, path in files.items()}
        shipped = repository_with(made.path, state / "shipped")
        server = stack.enter_context(
            TritonServer(read_settings(state=state, shipped_repository=shipped, grpc_port=0, metrics_port=0))
        )
        client = stack.enter_context(EmotionClient(ClientSettings(endpoints=server.endpoint, gather=True)))
        sides = SyncSdk(client), InProcess(*graphs(SHIPPED))
        for _ in track(range(rounds), "Measuring", console=console):
            measure_round(figures, models, seconds)
            measure_server(figures, *sides, seconds)
    return {
        **machine(),
        "settings": f"{rounds} rounds, {seconds:g} s a measurement; callers x faces in a call, else one caller",
        "accuracy": {"float32": made.before.accuracy, "int8": made.after.accuracy, "faces": made.before.examples},
        "bytes": {"float32": made.bytes_before, "int8": made.bytes_after},
        "figures": figures.values,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table, or why there is none."""
    console.print(f"{result['date']} · {result['machine']}\n{result['software']}")
    if not result["figures"]:
        console.print(result["verdict"])
        return
    accuracy, size = result["accuracy"], result["bytes"]
    console.print(result["settings"])
    table = Table("figure", "median (least-most)")
    table.add_row("accuracy, float32 and int8", f"{accuracy['float32']:.4f} and {accuracy['int8']:.4f}")
    table.add_row("size, float32 and int8, MB", f"{size['float32'] / 1e6:.2f} and {size['int8'] / 1e6:.2f}")
    for name, values in result["figures"].items():
        table.add_row(name, Spread.of(values).text())
    console.print(table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="dataset: a directory, a zip of one, or a CSV file")
    release = SHIPPED / EMOTION_CLASSIFIER.name / "1" / "model.onnx"
    parser.add_argument("--onnx", type=Path, default=release, help="the float32 classifier (default: release 1)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default 2)")
    parser.add_argument("--json", type=Path, help="also write all values here")
    arguments = parser.parse_args()
    console = Console()
    try:
        result = run(arguments.data, arguments.onnx, arguments.rounds, arguments.seconds, console)
    except MienError as error:
        sys.exit(f"Error: {error}")
    show(result, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
