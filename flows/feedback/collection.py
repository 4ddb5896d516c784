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
from flows.settings import read_flow_settings
from mien.contract import EMOTION
from mien.errors import SettingsError
from mien.gateway.feedback.errors import FeedbackUnavailableError, UnknownFeedbackError
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.gateway.feedback.tables import Correction

FEEDBACK_READY = "mien.feedback.ready"
RESOURCE = "mien.feedback"
"""Of the event, with the name after it of the ensemble that the corrections are about."""

_ACTOR = "flow"


class CollectionSettings(BaseSettings):
    """When and how corrections are trained with; each comes from ``MIEN_FEEDBACK_<NAME>`` in the environment.

    Attributes:
        batch: newly accepted corrections that make a retraining worth while.
        weight: how many times a correction counts in training, against once for a face of the base dataset.
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
def collect_feedback(data: Path | None = None, settings: CollectionSettings | None = None) -> Path | None:
    """Take erased corrections out of the datasets; make a new dataset if enough were accepted since the last.

    A dataset holds the base dataset and all accepted corrections; the event ``mien.feedback.ready`` names it as `data`.
    If the flow dies in between, the next one makes it again.

    Args:
        data: the base, as `training.dataset.load` takes it; by default MIEN_RETRAIN_DATA.
        settings: by default those of the environment.

    Returns:
        the new dataset, if there is one.

    Raises:
        FlowError: there is no base dataset.
        DatasetError: the base dataset cannot be read.
        FeedbackUnavailableError: the feedback store cannot be reached.
    """
    settings = settings or read_collection_settings()
    logger = get_run_logger()
    with closing(FeedbackStore(FeedbackSettings())) as store:
        if not store.is_there():
            logger.info("No feedback was ever given.")
            return None
        serving = read_settings()
        serving.create_state()
        datasets = FeedbackDatasets(serving.state.resolve() / "feedback" / "datasets")
        with datasets.alone():
            accepted = store.accepted()
            _take_out_erased(datasets, accepted)
            news = [correction for correction in accepted if correction.collected is None]
            logger.info("%d corrections are accepted, %d of them not trained with yet.", len(accepted), len(news))
            if len(news) < settings.batch:
                return None
            dataset = _build(store, datasets, accepted, data, settings.weight)
            emit_event(
                FEEDBACK_READY,
                resource={"prefect.resource.id": f"{RESOURCE}.{EMOTION.name}", "prefect.resource.name": dataset.name},
                payload={"data": str(dataset), "corrections": len(accepted), "new": len(news)},
            )
            store.collect(accepted, dataset.name, _ACTOR)
    logger.info("%s holds them; a retraining was asked for.", dataset)
    return dataset


def with_corrections(data: Path) -> Path:
    """The dataset that a retraining with `data` takes: with the corrections that have been accepted, if there are any.

    Args:
        data: as `training.dataset.load` takes it. A dataset that has corrections in it is taken as it is.

    Raises:
        DatasetError: it cannot be read.
        FeedbackUnavailableError: the feedback store cannot be reached.
    """
    folder = read_settings().state.resolve() / "feedback" / "datasets"
    if data.resolve().parent == folder:
        return data
    with closing(FeedbackStore(FeedbackSettings())) as store:
        if not store.is_there() or not (accepted := store.accepted()):
            return data
        datasets = FeedbackDatasets(folder)
        with datasets.alone():
            return _build(store, datasets, accepted, data, read_collection_settings().weight)


def _build(
    store: FeedbackStore, datasets: FeedbackDatasets, accepted: Sequence[Correction], data: Path | None, weight: int
) -> Path:
    from training.dataset import load

    data = data or read_flow_settings().retrain_data
    if data is None:
        raise FlowError("There is no dataset to add corrections to: set MIEN_RETRAIN_DATA, or give one.")
    base = load(data)
    faces = {
        correction.id: (correction.corrected, picture)
        for correction in accepted
        if (picture := _picture(store, correction.id)) is not None
    }
    dataset = datasets.build(base, faces, weight)
    # What was erased while it was made.
    datasets.keep_only({correction.id for correction in store.accepted()})
    datasets.remove_old()
    return dataset


def _take_out_erased(datasets: FeedbackDatasets, accepted: Sequence[Correction]) -> None:
    removed = datasets.keep_only({correction.id for correction in accepted})
    if removed:
        get_run_logger().info("%d pictures were taken out: they are erased, or not accepted any more.", removed)


def _picture(store: FeedbackStore, identifier: str) -> bytes | None:
    """The face of a correction; None if it was erased a moment ago."""
    try:
        return store.training_example(identifier)
    except FeedbackUnavailableError:
        try:
            store.find(identifier)
        except UnknownFeedbackError:
            return None
        raise
