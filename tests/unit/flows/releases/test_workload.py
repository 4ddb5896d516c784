"""What is said when Kubernetes refuses, is away or does not get on; `test_replicas.py` shows a rollout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from flows.errors import RolloutError
from flows.releases.workload import Workload
from flows.running_server import check_serving
from flows.settings import FlowSettings
from mien.contract import EMOTION, ENSEMBLES
from serving import read_settings
from serving.errors import StoreError
from serving.settings import release_variable
from tests.fake_kubernetes import FakeKubernetes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.contract import EnsembleSpec


@pytest.fixture(params=ENSEMBLES, ids=lambda ensemble: ensemble.name)
def ensemble(request: pytest.FixtureRequest) -> EnsembleSpec:
    """Whose release is meant."""
    found: EnsembleSpec = request.param
    return found


@pytest.fixture
def kubernetes(ensemble: EnsembleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    """One whose pods never change."""
    pods = [SimpleNamespace(release=1)]
    cluster = SimpleNamespace(pods=pods, ending=0, roll_out=lambda release: None, variable=release_variable(ensemble))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with FakeKubernetes(cluster, 1) as kubernetes:  # type: ignore[arg-type]
        kubernetes.write_kubeconfig(tmp_path / "kubeconfig")
        yield kubernetes


def test_the_release_is_read_from_the_deployment(kubernetes: FakeKubernetes, ensemble: EnsembleSpec) -> None:
    workload = Workload(FlowSettings(), ensemble)
    assert workload.release() == "1"
    workload.wait()


def test_what_does_not_come_up_in_time_is_named(
    kubernetes: FakeKubernetes, ensemble: EnsembleSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.releases.workload._POLL_S", 0.01)
    workload = Workload(FlowSettings(rollout_timeout_s=0.05), ensemble)
    workload.set_release("2", "a test")
    with pytest.raises(
        RolloutError, match=r"mien/triton was not rolled out in 0.05 s: 0 of 1 new pods are ready.*logs"
    ):
        workload.wait()


def test_what_kubernetes_refuses_is_told(kubernetes: FakeKubernetes) -> None:
    with pytest.raises(RolloutError, match="refused a call about the deployment elsewhere/triton: 403"):
        Workload(FlowSettings(kubernetes_namespace="elsewhere"), EMOTION).release()


def test_no_kubernetes_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RolloutError, match=r"Kubernetes cannot be reached.*where kubectl works"):
        Workload(FlowSettings(), EMOTION).release()


def test_before_much_work_is_done_it_is_seen_that_a_release_could_be_served(
    kubernetes: FakeKubernetes, ensemble: EnsembleSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIEN_PLATFORM", "kubernetes")
    monkeypatch.delenv("MIEN_RELEASE_STORE", raising=False)
    with pytest.raises(StoreError, match="Set MIEN_RELEASE_STORE"):
        check_serving(read_settings(state=tmp_path), ensemble)
    check_serving(read_settings(state=tmp_path, release_store=str(tmp_path)), ensemble)
