"""Replicas under load: one is killed, one is drained, all are replaced by another release, and no call is lost."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flows import release
from mien.contract import EMOTION, ENSEMBLES
from serving import Ledger, ModelRepository, publish
from serving.repository import install_shipped
from serving.store import ReleaseStore, open_store
from tests.conftest import server_settings
from tests.fake_kubernetes import FakeKubernetes
from tests.releases import export_variant, seal
from tests.replicas import Cluster, Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.contract import EnsembleSpec
    from tests.conftest import WaitUntil

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Of faces and of speech release 1 is served, 2 is good, and 3 does not answer what its export says."""
    work = tmp_path_factory.mktemp("work")
    settings = server_settings(work)
    repository = install_shipped(ModelRepository(settings.shipped_repository), work / "repository")
    for ensemble in ENSEMBLES:
        good = export_variant(settings, work / f"good_{ensemble.name}", favour=3, ensemble=ensemble)
        publish(good, repository, ensemble)
        bad = export_variant(settings, work / f"bad_{ensemble.name}", favour=4, ensemble=ensemble)
        golden = bad / ensemble.name / "1/golden.npz"
        with np.load(golden) as content:
            np.savez_compressed(golden, **{**content, "probabilities": content["probabilities"][:, ::-1]})
        seal(bad, ensemble)
        publish(bad, repository, ensemble)
    return repository


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, repository: ModelRepository) -> ReleaseStore:
    """A volume with release 1 of faces and of speech."""
    url = str(tmp_path_factory.mktemp("store"))
    for ensemble in ENSEMBLES:
        store = open_store(url, ensemble)
        store.push(repository, 1)
        store.set_current(1, expected=None)
    return open_store(url, EMOTION)


@pytest.fixture
def cluster(local_triton: None, tmp_path: Path, store: ReleaseStore) -> Iterator[Cluster]:
    with Cluster(tmp_path, store.url) as cluster:
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


def promote(release_number: int, ensemble: EnsembleSpec) -> int:
    """`python -m flows.release promote`, in this process; gives its exit status."""
    try:
        return release.main(["promote", str(release_number), "--ensemble", ensemble.name])
    except SystemExit as end:  # typer ends what succeeds
        return int(end.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda ensemble: ensemble.name)
def test_a_release_is_rolled_out_and_a_bad_one_taken_back_without_a_lost_call(
    local_triton: None,
    ensemble: EnsembleSpec,
    repository: ModelRepository,
    store: ReleaseStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path, store.url, ensemble))
        for _ in range(2):
            cluster.add_pod(1)
        kubernetes = stack.enter_context(FakeKubernetes(cluster, 1))
        load = stack.enter_context(Load(cluster.endpoint, ensemble=ensemble))
        kubernetes.write_kubeconfig(tmp_path / "kubeconfig")
        for name, value in {
            "KUBECONFIG": tmp_path / "kubeconfig",
            "MIEN_ENDPOINTS": cluster.endpoint,
            "MIEN_MODEL_REPOSITORY": repository.path,
            "MIEN_PLATFORM": "kubernetes",
            "MIEN_RELEASE_STORE": store.url,
        }.items():
            monkeypatch.setenv(name, str(value))
        assert load.releases.keys() == {1}
        assert promote(2, ensemble) == 0, capsys.readouterr().err
        asked = len(load.answers)
        load.wait_for_more()
        # Calls that were on their way when the last old pod ended may be noted after it.
        assert set(load.answers[asked + load.callers :]) == {2}
        assert promote(3, ensemble) != 0
        assert "Release 3 was not promoted, 2 is still served" in (told := capsys.readouterr().err)
        assert "canary failed" in told
        load.wait_for_more()
        assert [pod.release for pod in cluster.pods] == [2, 2]
    assert not load.failures
    assert load.releases.keys() == {1, 2}
    assert kubernetes.reasons == ["promote 2", "promote 3", "back to 2"]
    current = open_store(store.url, ensemble).current()
    assert (current and current.release, repository.pointer(ensemble).release) == (2, 2)
    assert [entry.release for entry in Ledger(repository.path).history(ensemble.name)] == [2]
