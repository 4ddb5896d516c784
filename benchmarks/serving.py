"""What serving costs: our ensemble over gRPC beside ONNX Runtime in one process, and beside what else there is.

    python -m benchmarks.serving --rounds 5 --seconds 3
    python -m benchmarks.serving --peers --page docs/benchmarks.md

All classify the same faces with the same two graphs. Every round measures all of them in turn; ratios are taken within
a round and shown as median (least-most). With `--page` the table and the plot are put into that page.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from rich.console import Console
from rich.progress import track
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.comparison import Comparison, Workload
from benchmarks.contestants import AsyncSdk, Independent, InProcess, Other, SyncSdk
from benchmarks.counters import model_counters
from benchmarks.environments import EnvironmentMissingError
from benchmarks.footprint import client_mib, foreign_processor_s, model_load_s, processor_s, resident_mib
from benchmarks.gateway import RestCaller, head, running_gateway, sdk_throughput
from benchmarks.machine import machine
from benchmarks.measure import Rounds, median_latency_ms, throughput
from benchmarks.peer import PEERS, PeerError, RunningPeer, best_way
from benchmarks.peers.arguments import free_port
from benchmarks.peers.onnx_pair import OnnxPair
from benchmarks.perf_analyzer import PerfAnalyzer
from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION, FACES, MAX_BATCH_SIZE
from mien.errors import MienError
from serving.repository import ModelRepository
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant

CALLERS = 16
WORKLOADS = (Workload(CALLERS, 1), Workload(4, 16))


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    rounds: int
    seconds: float
    peers: bool


def random_faces(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The same `count` faces for all."""
    return np.random.default_rng(0).integers(0, 256, (count, *FACES.shape), np.uint8)


def graphs(repository: Path) -> tuple[Path, Path]:
    """The preprocessing's and the classifier's files of the release that is pinned."""
    members = ModelRepository(repository).pointer(EMOTION).members
    preprocess, classifier = (repository / name / str(version) / "model.onnx" for name, version in members.items())
    return preprocess, classifier


def run(options: Options, console: Console) -> dict[str, Any]:
    """Start a server of its own and all others, measure, stop them; returns everything that is shown."""
    ours, notes = Rounds(), list[str]()
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-bench-")))
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        files = graphs(settings.shipped_repository)
        peers = _start_peers(stack, state, files, notes, console) if options.peers else []
        begin = time.perf_counter()
        server = stack.enter_context(TritonServer(settings))
        ours.add("server start to first answer, s", time.perf_counter() - begin)
        client = stack.enter_context(EmotionClient(server.endpoint))
        gathering = stack.enter_context(EmotionClient(ClientSettings(endpoints=server.endpoint, gather=True)))
        contestants: list[Contestant] = [InProcess(*files), SyncSdk(client), SyncSdk(gathering)]
        contestants.append(AsyncSdk(server.endpoint))
        try:
            contestants.append(Independent(PerfAnalyzer(), server.endpoint))
        except EnvironmentMissingError as error:
            notes.append(f"perf_analyzer is left out: {error}")
        contestants += [Other(peer) for peer in peers]
        port = free_port()
        stack.enter_context(running_gateway(server.endpoint, state, port))
        comparison = Comparison(contestants, random_faces(MAX_BATCH_SIZE), options.seconds)
        for _ in track(range(options.rounds), "Measuring", console=console):
            begin, foreign = time.perf_counter(), foreign_processor_s()
            comparison.measure_round(WORKLOADS)
            busy = (foreign_processor_s() - foreign) / (time.perf_counter() - begin)
            ours.add("cores that other work of this machine took meanwhile", busy)
            _measure_path(ours, server, client, OnnxPair(*files, 1), options.seconds)
            _measure_pictures(ours, server.endpoint, port, options.seconds)
            ours.add("model load, s", model_load_s(server))
        memory = resident_mib(server) | {"a process with the SDK": client_mib(server.endpoint)}
        software = {peer.peer.name: f"{peer.versions()}; {peer.way.text()}" for peer in peers}
    return {
        **machine(),
        "settings": f"{options.rounds} rounds, {options.seconds:g} s a measurement",
        "peers": software,
        "notes": notes,
        **comparison.result(),
        "ours": ours.values,
        "resident MiB": memory,
    }


def _start_peers(
    stack: ExitStack, state: Path, files: tuple[Path, Path], notes: list[str], console: Console
) -> list[RunningPeer]:
    """Each in its best way, stopped until its turn; one that does not start is left out with a note."""
    running = []
    for peer in PEERS:
        log = state / f"{peer.module}.log"
        try:
            with console.status(f"Trying the ways of {peer.name}"):
                way = best_way(peer, files, random_faces(1), CALLERS, log)
                started = stack.enter_context(RunningPeer(peer, way, files, log))
        except (PeerError, EnvironmentMissingError) as error:
            notes.append(f"{peer.name} is left out: {error}")
            continue
        started.suspend()
        running.append(started)
    return running


def _measure_path(
    ours: Rounds, server: TritonServer, client: EmotionClient, in_process: OnnxPair, seconds: float
) -> None:
    """Where the time goes: one caller's by Triton's own counters; processor time and batches of many callers."""
    endpoint, face = server.endpoint, random_faces(1)
    preprocess, classifier = (member.name for member in EMOTION.members)
    with closing(grpc.insecure_channel(endpoint)) as channel:
        stub, live = service_pb2_grpc.GRPCInferenceServiceStub(channel), service_pb2.ServerLiveRequest()
        ours.add("1 caller: an empty gRPC call, p50 ms", median_latency_ms(lambda: stub.ServerLive(live), seconds / 3))

    before = model_counters(endpoint)
    median_latency_ms(lambda: client.classify(face), seconds)
    middle = model_counters(endpoint)
    for name in (preprocess, classifier):
        ours.add(f"1 caller: {name}, ms", middle[name].since(before[name]).busy_ms)

    used = processor_s(server)
    throughput(lambda: client.classify(face), CALLERS, seconds)
    used = {name: value - used[name] for name, value in processor_s(server).items()}
    after = model_counters(endpoint)
    loaded = {name: after[name].since(middle[name]) for name in (preprocess, classifier)}
    for name, processor in used.items():
        ours.add(f"{CALLERS} callers: processor ms a face, {name}", processor / loaded[classifier].faces * 1e3)
    begin = time.process_time()
    calls = throughput(lambda: in_process(face), 1, seconds / 3) * seconds / 3
    ours.add("in process: processor ms a face", (time.process_time() - begin) / calls * 1e3)
    ours.add(f"{CALLERS} callers: faces in a batch of the classifier", loaded[classifier].faces_per_batch)
    ours.add(
        f"{CALLERS} callers: preprocessing / classifier, server time",
        loaded[preprocess].busy_s / loaded[classifier].busy_s,
    )


def _measure_pictures(ours: Rounds, endpoint: str, port: int, seconds: float) -> None:
    """Whole pictures: through the SDK, and over REST through the gateway."""
    pictures = [head(side) for side in (240, 350, 500)]
    sdk = sdk_throughput(ClientSettings(endpoints=endpoint, deadline_s=60), pictures, seconds)
    rest = throughput(RestCaller(port, pictures), CALLERS, seconds)
    ours.add(f"SDK, {CALLERS} callers, portraits/s", sdk)
    ours.add(f"gateway, {CALLERS} callers, portraits/s", rest)
    ours.add("gateway / SDK", rest / sdk)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement (default 3)")
    parser.add_argument("--peers", action="store_true", help="also FastAPI, MLServer, LitServe, BentoML, Flask + Keras")
    parser.add_argument("--json", type=Path, help="also write all values here")
    parser.add_argument("--page", type=Path, help="put table and plot into this page, between its bench marks")
    arguments = parser.parse_args()
    from benchmarks import page

    console = Console()
    try:
        result = run(Options(arguments.rounds, arguments.seconds, arguments.peers), console)
    except MienError as error:
        sys.exit(f"Error: {error}")
    page.show(result, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if arguments.page:
        page.write(result, arguments.page)


if __name__ == "__main__":
    main()
