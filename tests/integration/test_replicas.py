"""Replicas under load: one is killed, one is drained, all are replaced by another release, and no call is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mien.contract import EMOTION
from serving import ModelRepository, publish
from serving.repository import install_shipped
from serving.store import open_store
from tests.conftest import server_settings
from tests.releases import export_variant
from tests.replicas import Cluster, Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A volume with the releases 1 and 2."""
    folder, work = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("work")
    settings = server_settings(work)
    repository = install_shipped(ModelRepository(settings.shipped_repository), work / "repository")
    publish(export_variant(settings, work / "export", favour=3), repository, EMOTION)
    for release in (1, 2):
        open_store(str(folder), EMOTION).push(repository, release)
    return str(folder)


@pytest.fixture
def cluster(local_triton: None, tmp_path: Path, store: str) -> Iterator[Cluster]:
    with Cluster(tmp_path, store) as cluster:
        yield cluster


def test_the_probe_tells_a_server_that_answers_from_one_that_only_looks_ready(
    cluster: Cluster, wait_until: WaitUntil
) -> None:
    pod = cluster.add_pod(1)
    assert pod.ask("/live") == (200, "yes\n")
    assert pod.ask("/metrics")[0] == 404
    pod.kill_stubs()
    wait_until(lambda: pod.ask("/live")[0] == 503)
    assert "did not answer through emotion" in pod.ask("/live")[1]
    assert pod.ask("/ready")[0] == 200, "if Triton tells this now, the probe's inference is not needed"
    pod.drain()
    pod.kill()
    wait_until(lambda: pod.ask("/ready")[0] == 503)


def test_a_killed_and_a_drained_replica_cost_no_call(cluster: Cluster) -> None:
    killed, drained = cluster.add_pod(1), cluster.add_pod(1)
    with Load(cluster.endpoint) as load:
        killed.kill()
        load.wait_for_more()
        cluster.forget_pod(killed)
        cluster.add_pod(1)
        load.wait_for_more()
        cluster.end_pod(drained)
        load.wait_for_more()
    assert not load.failures
    assert "callers have not left" not in drained.log


def test_another_release_is_rolled_out_without_a_lost_call(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.add_pod(1)
    with Load(cluster.endpoint) as load:
        before = load.releases
        cluster.roll_out(2)
        asked = len(load.answers)
        load.wait_for_more()
    assert not load.failures
    assert before.keys() == {1}
    assert load.releases.keys() == {1, 2}
    # Calls that were on their way when the last old pod ended may be noted after it.
    assert set(load.answers[asked + load.callers :]) == {2}
