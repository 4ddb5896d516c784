"""The command line, ``python -m loadtest …``.

Exit codes: 0 all objectives were kept, 1 one was broken, 2 a wrong command line or setting, 5 a server did not answer
or was lost, 7 Locust could not do it, 130 a Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest import display, pictures, report, speech
from loadtest.generator import Distribution, worker_command
from loadtest.knee import Probe, find_knee
from loadtest.load_test import Outcome, Targets, run
from loadtest.plan import KINDS, Arrivals, Kind, LoadPlan
from loadtest.settings import LoadTestSettings
from loadtest.shapes import ShapeName  # noqa: TC001 (typer reads the annotations at run time)
from loadtest.summary import Objectives
from mien.errors import InferenceError, MienError, SettingsError
from mien.output import escape_what_cannot_be_encoded
from mien.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_BROKEN = 1
EXIT_INTERRUPTED = 130

LOCUST_PORT = 5557
"""Locust's own default, for workers on other machines."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Users = Annotated[
    str,
    typer.Option(
        help="Callers by kind, such as grpc=4,speech=1: grpc, pipeline, rest, speech. With a rate, proportions of it."
    ),
]
Seconds = Annotated[float, typer.Option(min=0.1, help="How long the test takes, in seconds.")]
ArrivalsOption = Annotated[Arrivals, typer.Option(help="How the calls of an open loop are spaced.")]
InFlight = Annotated[int, typer.Option(min=1, help="Open loop: calls of each kind that may be on their way at once.")]
Faces = Annotated[int, typer.Option(min=1, max=64, help="Faces in each call of a grpc user.")]
Windows = Annotated[int, typer.Option(min=1, max=64, help="Windows of 3 s in each call of a speech user.")]
Pictures = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        exists=True,
        file_okay=False,
        help="Folder of pictures to send. By default two portraits, and made faces.",
    ),
]
Recordings = Annotated[
    Path | None,
    typer.Option(
        "--recordings",
        exists=True,
        file_okay=False,
        help="Folder of recordings whose windows speech users send. By default made windows.",
    ),
]
Server = Annotated[str | None, typer.Option(help="Triton's gRPC port. [default: MIEN_ENDPOINTS or 127.0.0.1:8001]")]
Gateway = Annotated[str | None, typer.Option(help="The gateway's URL. [default: http://127.0.0.1:8080]")]
Metrics = Annotated[str | None, typer.Option(help="Triton's metrics. [default: http://127.0.0.1:8002/metrics]")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that share the load on this machine.")]
Deadline = Annotated[float, typer.Option("--deadline-s", min=0.001, help="Seconds that a call may take.")]
Out = Annotated[
    Path | None, typer.Option(file_okay=False, help="Folder for the report. [default: one under .mien/loadtest]")
]
Seed = Annotated[int, typer.Option(help="Of the random gaps between calls.")]


@app.callback()
def loadtest() -> None:
    """What a deployment carries, at which latency: load from Locust, against servers that run already."""


@app.command("run")
def run_test(
    *,
    users: Users = "grpc=4",
    duration: Seconds = 30.0,
    shape: Annotated[ShapeName, typer.Option(help="How the load changes over the test.")] = "soak",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Open loop: calls a second at the peak. [default: closed loop]"),
    ] = None,
    arrivals: ArrivalsOption = "poisson",
    in_flight: InFlight = 256,
    faces: Faces = 1,
    windows: Windows = 1,
    pictures_folder: Pictures = None,
    recordings_folder: Recordings = None,
    server: Server = None,
    gateway: Gateway = None,
    metrics: Metrics = None,
    processes: Processes = 1,
    expect_workers: Annotated[
        int, typer.Option(min=0, help="Wait for so many `loadtest worker` on other machines instead.")
    ] = 0,
    bind: Annotated[str, typer.Option(help="Address on which to wait for them.")] = f"127.0.0.1:{LOCUST_PORT}",
    deadline_s: Deadline = 10.0,
    seed: Seed = 1,
    p99_ms: Annotated[float | None, typer.Option("--p99-ms", help="Objective: the most, for each kind.")] = None,
    error_rate: Annotated[float | None, typer.Option(min=0, max=1, help="Objective: the largest share.")] = None,
    min_rps: Annotated[float | None, typer.Option(help="Objective: the fewest good answers a second.")] = None,
    out: Out = None,
) -> None:
    """Put load on running servers, report, and exit with 1 if an objective was broken."""
    plan = make_plan(
        users,
        pictures_folder,
        recordings_folder,
        duration_s=duration,
        shape=shape,
        rate=rate,
        arrivals=arrivals,
        in_flight=in_flight,
        faces=faces,
        windows=windows,
        deadline_s=deadline_s,
        seed=seed,
        workers=expect_workers or processes,
    )
    host, _, port = bind.rpartition(":")
    distribution = Distribution(processes)
    if expect_workers:
        if not host or not port.isdecimal():
            raise SettingsError(f"--bind is {bind!r}; it takes an address and a port, such as 0.0.0.0:{LOCUST_PORT}.")
        distribution = Distribution(master=True, bind_host=host, bind_port=int(port))
    console = Console()
    folder = _folder(out)
    outcome = _run_with_progress(plan, _targets(server, gateway, metrics), distribution, console)
    broken = Objectives(p99_ms, error_rate, min_rps).broken_by(outcome.summary)
    page = report.write_report(folder, plan, outcome, broken)
    display.show(outcome, plan, console)
    console.print(f"Report: {page}", soft_wrap=True)
    _end(outcome, broken)


@app.command("find-capacity")
def find_capacity(
    *,
    p99_ms: Annotated[float, typer.Option("--p99-ms", help="Objective: the 99th percentile at most.")] = 50.0,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Objective: the largest share of failures.")] = 0.01,
    users: Users = "grpc=1",
    start: Annotated[float, typer.Option(min=0.1, help="The first rate, in calls a second.")] = 50.0,
    precision: Annotated[float, typer.Option(min=0.001, max=1, help="How narrow the search ends.")] = 0.05,
    attempts: Annotated[int, typer.Option(min=1, help="A rate is broken when so many probes of it break.")] = 2,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds of each probe.")] = 10.0,
    arrivals: ArrivalsOption = "poisson",
    in_flight: InFlight = 256,
    faces: Faces = 1,
    windows: Windows = 1,
    pictures_folder: Pictures = None,
    recordings_folder: Recordings = None,
    server: Server = None,
    gateway: Gateway = None,
    metrics: Metrics = None,
    processes: Processes = 1,
    deadline_s: Deadline = 10.0,
    seed: Seed = 1,
    out: Out = None,
) -> None:
    """Search the highest rate (open loop) that keeps the objectives: the knee."""
    plan = make_plan(
        users,
        pictures_folder,
        recordings_folder,
        duration_s=duration,
        rate=start,
        arrivals=arrivals,
        in_flight=in_flight,
        faces=faces,
        windows=windows,
        deadline_s=deadline_s,
        seed=seed,
        workers=processes,
    )
    targets, console, folder = _targets(server, gateway, metrics), Console(), _folder(out)

    def probe(at: float) -> Probe:
        outcome = run(plan.model_copy(update={"rate": at}), targets, distribution=Distribution(processes))
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.lost:
            raise InferenceError(outcome.lost)
        summary = outcome.summary
        broken = Objectives(p99_ms, error_rate).broken_by(summary)
        worst = max(kind.p99_ms for kind in summary.kinds)
        tried = Probe(at, not broken, summary.per_second, worst, summary.error_rate, tuple(broken))
        console.print(display.probe_line(tried, summary))
        return tried

    found = find_knee(probe, start=start, precision=precision, attempts=attempts)
    objectives = {"p99_ms": p99_ms, "error_rate": error_rate}
    page = report.write_capacity(folder, plan, found, objectives)
    if found.rate:
        console.print(f"Capacity: {found.rate:.0f} calls a second keep p99 ≤ {p99_ms:g} ms, errors ≤ {error_rate:g}.")
    else:
        console.print(f"No rate keeps p99 ≤ {p99_ms:g} ms and errors ≤ {error_rate:g}.")
    console.print(f"Report: {page}", soft_wrap=True)
    if not found.rate:
        raise typer.Exit(EXIT_BROKEN)


@app.command()
def worker(
    *,
    master_host: Annotated[str, typer.Option(help="Where `run --expect-workers` waits.")],
    master_port: Annotated[int, typer.Option(help="And its port.")] = LOCUST_PORT,
) -> None:
    """Be a worker of a test that another machine runs; the servers' addresses come from this environment."""
    command = worker_command(master_host, master_port)
    os.execv(command[0], command)  # noqa: S606 - a fixed program, and no shell


def make_plan(users: str, folder: Path | None, recordings_folder: Path | None = None, **values: object) -> LoadPlan:
    """The plan that the options describe.

    Raises:
        SettingsError: an option does not make sense.
        LoadTestError: a folder holds no picture, or no recording.
    """
    try:
        return LoadPlan.model_validate(
            {
                "users": parse_users(users),
                "pictures": pictures.find_pictures(folder or pictures.PORTRAITS),
                "made_faces": folder is None,
                "recordings": speech.find_recordings(recordings_folder) if recordings_folder else (),
                **values,
            }
        )
    except ValidationError as error:
        raise SettingsError(
            " ".join(
                f"{'.'.join(map(str, part['loc']))} is {part['input']!r}: {part['msg']}." for part in error.errors()
            )
        ) from error


def parse_users(text: str) -> dict[Kind, int]:
    """`grpc=4,rest=1` as numbers by kind.

    Raises:
        SettingsError: it is not that.
    """
    users: dict[Kind, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        kind = next((kind for kind in KINDS if kind == name), None)
        if kind is None or kind in users or not number.isdecimal() or not int(number):
            raise SettingsError(
                f"--users is {text!r}; it takes {', '.join(KINDS)}, each once with a number above 0: grpc=4,rest=1."
            )
        users[kind] = int(number)
    return users


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status of what ended it."""
    escape_what_cannot_be_encoded()
    try:
        app(arguments)
    except MienError as error:
        typer.echo(f"Error: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    return 0


def _targets(server: str | None, gateway: str | None, metrics: str | None) -> Targets:
    given = {"gateway": gateway and gateway.rstrip("/"), "metrics": metrics}
    client = ClientSettings(endpoints=server) if server else ClientSettings()
    return Targets(client, LoadTestSettings(**{name: value for name, value in given.items() if value}))


def _run_with_progress(plan: LoadPlan, targets: Targets, distribution: Distribution, console: Console) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Starting Locust …", total=plan.duration_s)

        def tell(answered: int, failed: int) -> None:
            progress.update(task, advance=1, description=f"{answered} answered, {failed} failed")

        return run(plan, targets, distribution=distribution, on_progress=tell)


def _end(outcome: Outcome, broken: Sequence[str]) -> None:
    """Say what went wrong, and leave with the exit code of it."""
    sys.stdout.flush()
    if outcome.lost:
        raise InferenceError(outcome.lost)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if not outcome.summary.answered:
        raise InferenceError("No call was answered; the report lists the errors.")
    for sentence in broken:
        typer.echo(sentence, err=True)
    if broken:
        raise typer.Exit(EXIT_BROKEN)


def _folder(out: Path | None) -> Path:
    """Where the report goes, made before the test: what cannot be written shall not be measured."""
    state = Path(os.environ.get("MIEN_STATE", ".mien"))
    folder = out or state / "loadtest" / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out is {folder}, which cannot be made: {error.strerror or error}.") from error
    return folder
