"""Row 6: of two replicas one is slowed, swallows everything, is killed, is drained; the SDK's callers get no error."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mien.contract import ENSEMBLES
from serving import ModelRepository
from serving.repository import install_shipped
from serving.store import open_store
from tests.conftest import server_settings
from tests.replicas import Cluster, Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone, pytest.mark.fault(6)]

CALLERS = 4
CALLS = 200
HOLE_S = 20.0
IMPATIENT = {"attempt_timeout_s": 2}
"""What docs/reliability.md gives callers of replicas, so that they leave one that swallows everything."""
BOUND_S = {"slowed to a fifth": 3.0, "black-holed": 16.0, "killed": 5.0, "drained": 5.0}
"""The longest that a call may take; the deadline is 30 s. Four attempts in vain, 2 s each, and the pauses after them
(0.1, 0.4, 1.6 and 4 s, a fifth more at most) take 15.4 s."""


@contextmanager
def fault(name: str, load: Load, figures: Figures) -> Iterator[None]:
    """Have callers go on for a while, before and after the block's end, and say how long they waited."""
    first = len(load.waits_s)
    yield
    load.wait_for_more(CALLS)
    waits = sorted(load.waits_s[first:])
    p99 = waits[int(len(waits) * 0.99)]
    figures.add(
        f"{name}: {len(load.failures)} errors, {len(waits)} calls answered, p99 {p99 * 1e3:.0f} ms, longest"
        f" {waits[-1]:.1f} s"
    )
    assert not load.failures
    assert waits[-1] < BOUND_S[name]


@pytest.mark.timeout(600)
def test_no_caller_notices_what_happens_to_one_of_two_replicas(
    local_triton: None, tmp_path: Path, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    shipped = ModelRepository(server_settings(tmp_path).shipped_repository)
    for name in ("store", "pods"):
        (tmp_path / name).mkdir()
    repository = install_shipped(shipped, tmp_path / "repository")
    for ensemble in ENSEMBLES:
        store = open_store(str(tmp_path / "store"), ensemble)
        store.push(repository, 1)
        store.set_current(1, expected=None)
    with Cluster(tmp_path / "pods", str(tmp_path / "store")) as cluster:
        first, second = cluster.add_pod(1), cluster.add_pod(1)
        with Load(cluster.endpoint, CALLERS, options=IMPATIENT) as load:
            with fault("slowed to a fifth", load, figures), first.slowed(0.2):
                load.wait_for_more(CALLS)
            with fault("killed", load, figures):
                second.kill()
                cluster.forget_pod(second)
                load.wait_for_more(CALLS)
            cluster.add_pod(1)
            load.wait_for_more(CALLS)
            with fault("drained", load, figures):
                cluster.end_pod(first)
            if not scale.is_full:
                return
            first = cluster.add_pod(1)
            wait_until(lambda: first.answered >= CALLS)  # callers have found it
            with fault("black-holed", load, figures):
                first.freeze()
                end_s = time.monotonic() + HOLE_S
                wait_until(lambda: time.monotonic() > end_s or load.failures, timeout_s=2 * HOLE_S)
                load.wait_for_more(CALLERS)  # while it still is one
                first.thaw()
