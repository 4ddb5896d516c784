"""The part of pytest that `make faults` adds: options, the rows' selection, the table at the end.

python -m pytest -p tests.faults.plugin tests/faults --rows "1 8" --seed 7 --soak-min 30 --write docs/reliability.md

Without it, as in `make test`, the same tests run at a small scale and with a fixed seed.

Under pytest-xdist (`-n 2`) tests share the machine, but for those that compare speeds, which are marked `alone`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.machine import machine
from tests.faults.rows import ROWS
from tests.faults.table import FaultTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from _pytest.terminal import TerminalReporter

TABLE = pytest.StashKey[FaultTable]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--rows", default="", help="numbers of the rows to run, such as '1 8'; by default all of them")
    group.addoption("--scale", choices=["full", "short"], default="full", help="how much of each fault")
    group.addoption("--seed", type=int, default=secrets.randbelow(10**6), help="replay what is random with this seed")
    group.addoption("--soak-min", type=float, default=5, help="minutes of the soak")
    group.addoption("--write", type=Path, metavar="PAGE", help="put the table into this page, if all rows were run")


def pytest_configure(config: pytest.Config) -> None:
    words = config.getoption("--rows").replace(",", " ").split()
    numbers = [int(word) if word.isdecimal() else 0 for word in words] or list(ROWS)
    if not ROWS.keys() >= set(numbers):
        raise pytest.UsageError(f"--rows takes numbers from {min(ROWS)} to {max(ROWS)}, not {' '.join(words)!r}.")
    config.stash[TABLE] = FaultTable(numbers)
    config.pluginmanager.register(Recorder(config.stash[TABLE]))


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: seed {config.getoption('--seed')}, {config.getoption('--scale')} scale"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if (number := row_of(item)) and number in config.stash[TABLE]]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = sorted(chosen, key=lambda item: (not is_alone(item), -patience_s(item), row_of(item)))
    for item in items:
        item.user_properties.append(("row", row_of(item)))


def row_of(item: pytest.Item) -> int:
    """Number of the row that a test belongs to; 0 for none."""
    marker = item.get_closest_marker("fault")
    return marker.args[0] if marker else 0


def is_alone(item: pytest.Item) -> bool:
    """Whether no other test may run meanwhile."""
    return item.get_closest_marker("alone") is not None


def patience_s(item: pytest.Item) -> float:
    """What a test may take at most: those that may take long begin first, so that none of them is left to the end."""
    marker = item.get_closest_marker("timeout")
    return marker.args[0] if marker else float(item.config.getini("timeout"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for the machine, before any test's time begins to count."""
    if "PYTEST_XDIST_TESTRUNUID" not in os.environ:
        return (yield)
    with machine_for(alone=is_alone(item)):
        return (yield)


@contextmanager
def machine_for(*, alone: bool) -> Iterator[None]:
    """Hold the machine, with the other processes of this run or alone."""
    name = f"mien-faults-{os.environ['PYTEST_XDIST_TESTRUNUID']}"
    with (Path(tempfile.gettempdir()) / name).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


class Recorder:
    """Files each test's report under its row."""

    def __init__(self, results: FaultTable) -> None:
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if "row" not in properties:
            return
        result = self._results[properties["row"]]
        result.seconds += report.duration
        name = report.nodeid.rpartition("::")[2]
        if report.failed and name not in result.broken:
            result.broken.append(name)
        elif report.skipped:
            result.skipped.append(report.longrepr[2] if isinstance(report.longrepr, tuple) else name)
        elif report.when == "call":
            result.passed += 1
        if report.when == "call":
            result.figures += [text for kind, text in report.user_properties if kind == "figure"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    is_worker = hasattr(session.config, "workerinput")  # of pytest-xdist: it has seen a part of the tests alone
    if session.exitstatus == pytest.ExitCode.OK and not is_worker and not session.config.stash[TABLE].holds:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    results, seed, page = config.stash[TABLE], config.getoption("--seed"), config.getoption("--write")
    terminalreporter.section("faults")
    for line in results.lines():
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"seed {seed}; the same again: make faults SEED={seed}")
    if page is None:
        return
    if not results.has_all_rows or config.getoption("--scale") != "full":
        terminalreporter.write_line(f"{page} is left as it is: it takes whole tables at full scale only.")
        return
    measured = machine()
    minutes = f"{config.getoption('--soak-min'):g} minutes of soak"
    results.write(page, f"{measured['machine']}; {measured['software']}; {measured['date']}; seed {seed}; {minutes}.")
    terminalreporter.write_line(f"The table is in {page}.")
