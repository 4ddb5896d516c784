"""Locust's side: users, the shape of the load, and what all users of one process share."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
import gevent.socket
from grpc.experimental import gevent as grpc_gevent
from locust import LoadTestShape, User, constant, task
from locust.exception import StopUser
from locust.runners import WorkerRunner

from loadtest import shapes
from loadtest.callers import create_caller
from loadtest.generator import LIFELINE
from loadtest.plan import LoadPlan
from loadtest.record import NOT_SENT, Record
from loadtest.settings import LoadTestSettings
from mien.errors import MienError
from mien.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.env import Environment

    from loadtest.callers import Caller
    from loadtest.plan import Kind

REPORT_KEY = "mien"
"""Under which a worker's record travels in Locust's messages to the master."""

PROGRESS_S = 1.0

SLACK_S = 5.0
"""How much longer than a call's deadline the last callers may take to end."""


class Session:
    """One process's part of a load test: from the start of the test to its end."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._record = Record()
        self._plan: LoadPlan | None = None
        self._cpu_s = 0.0
        self._started: float | None = None
        self._callers: dict[Kind, Caller] = {}
        self._due: dict[Kind, Iterator[float] | None] = {}

    @property
    def now_s(self) -> float:
        """Seconds since the start of the test."""
        return time.perf_counter() - self._started if self._started is not None else 0.0

    def prepare(self, plan: LoadPlan) -> None:
        """Make what is sent.

        Raises:
            MienError: the pictures, the detector or a setting cannot be used.
        """
        client, settings = ClientSettings(), LoadTestSettings()
        self._plan = plan
        self._callers = {kind: create_caller(kind, plan, client, settings) for kind in plan.users}

    def start(self, worker: int) -> None:
        """Start the clock."""
        if self._plan is not None:
            self._due = {kind: self._plan.arrival_times(kind, worker) for kind in self._plan.users}
            self._cpu_s = _cpu_s()
            self._started = time.perf_counter()

    def next_due(self, kind: Kind) -> float | None:
        """When the next call is due, in seconds since the start; None if the test is over."""
        now_s = self.now_s
        if self._plan is None or now_s >= self._plan.duration_s:
            return None
        due = self._due.get(kind)
        return now_s if due is None else next(due, None)

    def call(self, kind: Kind, due_s: float) -> None:
        """Make one call, and tell Locust how it went."""
        sent_s = self.now_s
        error: Exception | None = None
        try:
            self._callers[kind].call()
        except Exception as caught:  # noqa: BLE001 - whatever a caller meets is a call that failed
            error = caught
        done_s = self.now_s
        calls = self._record.of(kind)
        if error is None:
            calls.answered(due_s, sent_s, done_s)
        else:
            calls.fail(due_s, str(error) if isinstance(error, MienError) else f"{type(error).__name__}: {error}")
        self._environment.events.request.fire(
            request_type=kind,
            name=kind,
            response_time=(done_s - due_s) * 1e3,
            response_length=0,
            exception=error,
            context={},
        )

    def close(self) -> None:
        """Count what was due and never sent, and close the connections."""
        end_s = min(self.now_s, self._plan.duration_s) if self._plan else 0.0
        for kind, due in self._due.items():
            for due_s in due or ():
                if due_s >= end_s:
                    break
                self._record.of(kind).fail(due_s, NOT_SENT)
        for caller in self._callers.values():
            caller.close()
        self._due, self._callers = {}, {}

    def take(self) -> Record:
        """What has been recorded since it was asked last."""
        taken, self._record = self._record, Record()
        if self._started is not None:  # what the preparation took is not the load's
            used_s = _cpu_s()
            taken.cpu_s, self._cpu_s = used_s - self._cpu_s, used_s
            taken.seconds = self.now_s
        return taken


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system


class Collector:
    """Where the records of all processes come together: in the master, or in the only process.

    Args:
        session: of this process.
        result: the file that the total is written to.
    """

    def __init__(self, session: Session, result: Path) -> None:
        self._session = session
        self._result = result
        self._total = Record()

    def merge(self, record: Record) -> None:
        """Add the record of a worker."""
        self._total.merge(record)

    def tell_progress(self) -> None:
        """Print a line of JSON every second, until the process ends."""
        while True:
            gevent.sleep(PROGRESS_S)
            self.merge(self._session.take())
            calls = self._total.calls.values()
            answered, failed = sum(one.service.count for one in calls), sum(one.failed.total() for one in calls)
            print(json.dumps({"answered": answered, "failed": failed}), flush=True)

    def write(self) -> None:
        """Write the total, whole or not at all."""
        self.merge(self._session.take())
        beside = self._result.with_suffix(".part")
        beside.write_text(json.dumps(self._total.as_json()))
        beside.replace(self._result)


class MienUser(User):  # type: ignore[misc]  # Locust's metaclass carries no types
    """A caller of one kind."""

    abstract = True
    kind: ClassVar[Kind]
    session: ClassVar[Session]
    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]  # Locust is not checked here
    def call(self) -> None:
        """Wait until a call is due, and make it."""
        due_s = self.session.next_due(self.kind)
        if due_s is None:
            raise StopUser
        gevent.sleep(max(0.0, due_s - self.session.now_s))
        self.session.call(self.kind, due_s)


class PlannedShape(LoadTestShape):  # type: ignore[misc]  # Locust's metaclass carries no types
    """How many callers there are: in a closed loop the shape's level of them, in an open loop all of them."""

    plan: ClassVar[LoadPlan]
    _last: tuple[int, float] = (1, 1.0)

    def tick(self) -> tuple[int, float] | None:
        """How many callers there are now; None once the test is over and they have ended, which they do themselves."""
        level = shapes.level(self.plan.stages, self.get_run_time())
        if level is None:
            late_s = self.get_run_time() - self.plan.duration_s
            over = self.get_current_user_count() == 0 or late_s > self.plan.deadline_s + SLACK_S
            return None if over else self._last
        peak = sum(self.plan.callers.values())
        self._last = (peak if self.plan.rate is not None else max(1, round(level * peak)), peak)
        return self._last


def install(environment: Environment) -> None:
    """Make one of Locust's processes do what the plan in its options says.

    Raises:
        MienError: the pictures, the detector or a setting cannot be used.
    """
    grpc_gevent.init_gevent()  # before any channel, and in each process after it was forked
    options: Any = environment.parsed_options
    session = MienUser.session = Session(environment)
    events = environment.events
    events.test_stop.add_listener(lambda **_: session.close())
    if isinstance(environment.runner, WorkerRunner):
        _install_worker(environment, session)
        return
    plan = PlannedShape.plan = LoadPlan.model_validate_json(options.plan)
    for user in environment.user_classes:
        user.weight = plan.users[user.kind]
    collector = Collector(session, Path(options.result))
    events.worker_report.add_listener(lambda data, **_: collector.merge(Record.from_json(data[REPORT_KEY])))
    events.quitting.add_listener(lambda **_: collector.write())
    gevent.spawn(collector.tell_progress)
    if plan.workers == 1 and not options.master:
        session.prepare(plan)
        events.test_start.add_listener(lambda **_: session.start(0))


def _install_worker(environment: Environment, session: Session) -> None:
    runner: Any = environment.runner
    options: Any = environment.parsed_options

    def start(**_: object) -> None:
        session.prepare(LoadPlan.model_validate_json(options.plan))  # the master's, which comes with the start
        session.start(runner.worker_index)

    def report(data: dict[str, Any], **_: object) -> None:
        data[REPORT_KEY] = session.take().as_json()

    environment.events.test_start.add_listener(start)
    environment.events.report_to_master.add_listener(report)


def watch_lifeline() -> None:
    """End this process, and those it forks later, when whoever started it is gone: nobody will read the result.

    To be called as soon as Locust loads its users: a worker that still waits for its master knows of no events.
    """
    lifeline = os.environ.get(LIFELINE)
    if lifeline:
        gevent.spawn(_end_with_the_parent, int(lifeline))


def _end_with_the_parent(lifeline: int) -> None:
    gevent.socket.wait_read(lifeline)
    os._exit(1)
