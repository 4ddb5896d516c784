"""The server that runs on a state folder, as whoever releases to it finds it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from flows.errors import NoServerError
from flows.releases.rollout import Rollout
from flows.releases.workload import Workload
from flows.settings import read_flow_settings
from serving import ModelRepository, Promoter, ServerControl
from serving.errors import ControlError
from serving.record import read_record
from serving.repository import install_shipped
from serving.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.contract import EnsembleSpec
    from serving import Promotion, ServingSettings
    from serving.record import ServerRecord

CLOCK_TOLERANCE_S = 60.0
"""A clock is set back by less again and again, to keep it right; whoever loads has more patience than that."""


def working_copy(settings: ServingSettings) -> ModelRepository:
    """The repository that the server of this state folder loads from; made if no server has run there yet.

    Raises:
        RepositoryError: it cannot be made.
    """
    repository = ModelRepository(settings.model_repository)
    if repository.path.exists():
        return repository  # a server may run on it: renewing it is its own business
    settings.create_state()
    return install_shipped(ModelRepository(settings.shipped_repository), repository.path)


def running_server(settings: ServingSettings, ensemble: EnsembleSpec) -> ServerRecord:
    """The record of the server that answers on this state folder.

    Raises:
        NoServerError: none does.
        ControlError: it answers, and takes no releases until it is started anew.
    """
    record = read_record(settings.record_path)
    if record is None:
        raise NoServerError(
            f"No server runs on the state folder {settings.state}, so nothing can be served or taken back. Start one"
            " with `make serve`, or set MIEN_STATE to the folder of the one you mean."
        )
    try:
        with ServerControl(record.endpoint, record.admin_key) as control:
            control.infer_zeros(ensemble)
    except ControlError as error:
        raise NoServerError(f"The server of the state folder {settings.state} does not answer. {error}") from error
    if record.set_back_s > CLOCK_TOLERANCE_S:
        raise ControlError(
            f"The clock of this machine was set back by {record.set_back_s:.0f} s while the server of the state folder"
            f" {settings.state} ran. It goes on to classify, but would keep you waiting for as long before it has"
            " loaded anything. Stop it, start it again with `make serve`, then do this again."
        )
    return record


class Releaser(Protocol):
    """Changes which release is served: `serving.Promoter` on this machine, `Rollout` on Kubernetes."""

    def promote(self, release: int, *, reason: str = "") -> Promotion:
        """Serve `release` from now on; if anything is wrong with it, what is served stays."""

    def rollback(self, *, to: int | None = None, reason: str = "") -> Promotion:
        """Serve the release before the present one, or the one named."""

    def offer(self, release: int) -> str:
        """Serve `release` beside the present one; gives the name that it answers as."""

    def withdraw(self) -> None:
        """Stop serving what was offered."""


def check_serving(settings: ServingSettings, ensemble: EnsembleSpec) -> None:
    """See that a release could be served, before much work is put into one.

    Raises:
        NoServerError: no server runs on this state folder.
        RolloutError: Kubernetes cannot be reached, or has no such Deployment.
        StoreError: no release store is set, without which its pods would get no release.
    """
    flow_settings = read_flow_settings()
    if flow_settings.platform == "local":
        running_server(settings, ensemble)
    else:
        open_store(settings.release_store, ensemble)
        Workload(flow_settings, ensemble).release()


@contextmanager
def promoter_of(settings: ServingSettings, ensemble: EnsembleSpec) -> Iterator[Releaser]:
    """Changes what is served, where MIEN_PLATFORM says.

    Raises:
        NoServerError: no server runs on this state folder.
        RolloutError: Kubernetes cannot be reached.
        StoreError: Kubernetes is to serve, and no release store is set.
    """
    flow_settings = read_flow_settings()
    if flow_settings.platform == "kubernetes":
        store = open_store(settings.release_store, ensemble)
        yield Rollout(working_copy(settings), ensemble, store, Workload(flow_settings, ensemble))
        return
    record = running_server(settings, ensemble)
    with ServerControl(record.endpoint, record.admin_key) as control:
        yield Promoter(ModelRepository(settings.model_repository), ensemble, control)
