"""The server that runs on a state folder, as whoever releases to it finds it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.errors import NoServerError
from serving import ModelRepository, Promoter, ServerControl
from serving.errors import ControlError
from serving.record import read_record
from serving.repository import install_shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.contract import EnsembleSpec
    from serving import ServingSettings
    from serving.record import ServerRecord


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
    return record


@contextmanager
def promoter_of(settings: ServingSettings, ensemble: EnsembleSpec) -> Iterator[Promoter]:
    """Changes what the server on this state folder serves.

    Raises:
        NoServerError: none runs.
    """
    record = running_server(settings, ensemble)
    with ServerControl(record.endpoint, record.admin_key) as control:
        yield Promoter(ModelRepository(settings.model_repository), ensemble, control)
