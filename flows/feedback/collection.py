"""Looks whether enough corrections have been accepted: a dataset of them, and an event that has it trained with."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path  # noqa: TC003 - Prefect reads the annotations at run time
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.events import emit_event
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.errors import FlowError
from flows.feedback.dataset import FeedbackDatasets
from flows.feedback.forms import form_of
from flows.retraining.subject import subjects
from flows.settings import read_flow_settings
from mien.contract import EMOTION, ensemble_named
from mien.errors import SettingsError
from mien.gateway.feedback.errors import FeedbackUnavailableError, UnknownFeedbackError
from mien.gateway.feedback.kinds import KINDS
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.contract import EnsembleSpec
    from mien.gateway.feedback.kinds import Kind
    from mien.gateway.feedback.tables import Correction

FEEDBACK_READY = "mien.feedback.ready"
RESOURCE = "mien.feedback"
"""Of the event, with the name after it of the ensemble that the corrections are about."""

_ACTOR = "flow"


class CollectionSettings(BaseSettings):
    """When and how corrections are trained with; each comes from ``MIEN_FEEDBACK_<NAME>`` in the environment.

    Attributes:
        batch: newly accepted corrections, of faces or of speech, that make a retraining worth while.
        weight: how many times a correction counts in training, against once for an example of the base dataset.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_FEEDBACK_", extra="ignore", frozen=True, env_ignore_empty=True)

    batch: int = Field(default=100, ge=1)
    weight: int = Field(default=2, ge=1, le=100)


def read_collection_settings() -> CollectionSettings:
    """The settings from the environment.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return CollectionSettings()
    except ValidationError as error:
        problems = [f"MIEN_FEEDBACK_{str(p['loc'][0]).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()]
        raise SettingsError(" ".join(problems)) from error


@flow(name="collect-feedback")
def collect_feedback(
    data: Path | None = None, settings: CollectionSettings | None = None, ensemble: str = EMOTION.name
) -> Path | None:
    """Take erased corrections out of all datasets; make a new dataset if enough were accepted since the last.

    A dataset holds the base dataset and all accepted corrections; the event ``mien.feedback.ready``, of the resource
    ``mien.feedback.NAME`` after the ensemble, names it as `data`. If the flow dies in between, the next one makes it
    again.

    Args:
        data: the base, as `training.dataset.load` takes it; by default MIEN_RETRAIN_DATA, of speech
            MIEN_RETRAIN_SPEECH_DATA.
        settings: by default those of the environment.
        ensemble: the name of that which the corrections are about.

    Returns:
        the new dataset, if there is one.

    Raises:
        SettingsError: there is no such ensemble.
        FlowError: there is no base dataset.
        DatasetError: the base dataset cannot be read.
        FeedbackUnavailableError: the feedback store cannot be reached.
    """
    settings, kind = settings or read_collection_settings(), KINDS[ensemble_named(ensemble).name]
    logger = get_run_logger()
    with closing(FeedbackStore(FeedbackSettings())) as store:
        if not store.is_there():
            logger.info("No feedback was ever given.")
            return None
        read_settings().create_state()
        for every in KINDS.values():
            _take_out_erased(store, every)
        with _datasets(kind).alone():
            accepted = store.accepted(kind)
            news = [correction for correction in accepted if correction.collected is None]
            logger.info(
                "%d corrections of %s are accepted, %d of them not trained with yet.",
                len(accepted),
                ensemble,
                len(news),
            )
            if len(news) < settings.batch:
                return None
            dataset = _build(store, kind, accepted, data, settings.weight)
            emit_event(
                FEEDBACK_READY,
                resource={"prefect.resource.id": f"{RESOURCE}.{ensemble}", "prefect.resource.name": dataset.name},
                payload={"data": str(dataset), "corrections": len(accepted), "new": len(news)},
            )
            store.collect(accepted, dataset.name, _ACTOR)
    logger.info("%s holds them; a retraining was asked for.", dataset)
    return dataset


def with_corrections(data: Path, ensemble: EnsembleSpec = EMOTION) -> Path:
    """The dataset that a retraining with `data` takes: with the corrections that have been accepted, if there are any.

    Args:
        data: as `training.dataset.load` takes it. A dataset that has corrections in it is taken as it is.
        ensemble: that it is for.

    Raises:
        DatasetError: it cannot be read.
        FeedbackUnavailableError: the feedback store cannot be reached.
    """
    kind = KINDS[ensemble.name]
    if data.resolve().parent == _folder(kind):
        return data
    with closing(FeedbackStore(FeedbackSettings())) as store:
        if not store.is_there() or not (accepted := store.accepted(kind)):
            return data
        with _datasets(kind).alone():
            return _build(store, kind, accepted, data, read_collection_settings().weight)


def _folder(kind: Kind) -> Path:
    return read_settings().state.resolve() / "feedback" / "datasets" / kind.ensemble.name


def _datasets(kind: Kind) -> FeedbackDatasets:
    return FeedbackDatasets(_folder(kind), form_of(kind.ensemble))


def _build(store: FeedbackStore, kind: Kind, accepted: Sequence[Correction], data: Path | None, weight: int) -> Path:
    from training.dataset import load

    subject = subjects(read_flow_settings())[kind.ensemble.name]
    data = data or subject.data
    if data is None:
        raise FlowError(f"There is no dataset to add corrections to: set {subject.variables}_DATA, or give one.")
    base, datasets = load(data, kind.ensemble), _datasets(kind)
    dataset = datasets.build(base, data, _usable(store, kind, accepted), weight)
    # What was erased while it was made.
    datasets.keep_only({correction.id for correction in store.accepted(kind)})
    datasets.remove_old()
    return dataset


def _take_out_erased(store: FeedbackStore, kind: Kind) -> None:
    datasets = _datasets(kind)
    with datasets.alone():
        removed = datasets.keep_only({correction.id for correction in store.accepted(kind)})
    if removed:
        get_run_logger().info("%d %ss were taken out: they are erased, or not accepted any more.", removed, kind.name)


def _usable(store: FeedbackStore, kind: Kind, accepted: Sequence[Correction]) -> dict[str, tuple[str, bytes]]:
    """Label and content of those that there is something to learn from in, by their id."""
    found = {}
    for correction in accepted:
        content = _content(store, correction.id)
        if content is None:
            continue
        try:
            found[correction.id] = correction.corrected, form_of(kind.ensemble).correction(content)
        except ValueError as error:
            get_run_logger().warning("Correction %s is left out: %s.", correction.id, error)
    return found


def _content(store: FeedbackStore, identifier: str) -> bytes | None:
    """What a correction is about; None if it was erased a moment ago."""
    try:
        return store.training_example(identifier)
    except FeedbackUnavailableError:
        try:
            store.find(identifier)
        except UnknownFeedbackError:
            return None
        raise
