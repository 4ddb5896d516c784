"""What is retrained: the ensemble that a configuration is about, and what the settings say of each ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.contract import EMOTION, SPEECH_EMOTION

if TYPE_CHECKING:
    from pathlib import Path

    from flows.settings import FlowSettings
    from mien.contract import EnsembleSpec

NAME = "mien"
"""Of every deployment that is not about another ensemble than `emotion`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What releases of one ensemble are trained with by themselves, and when.

    Attributes:
        ensemble: whose releases they are.
        name: of its deployments.
        variables: what the settings' names in the environment begin with.
        data: the dataset, if there is one.
        config: the configuration.
        schedule: a cron line; empty for never.
    """

    ensemble: EnsembleSpec
    name: str
    variables: str
    data: Path | None
    config: str
    schedule: str

    @property
    def parameters(self) -> dict[str, str]:
        """The dataset, as the flows take it."""
        return {"data": str(self.data)} if self.data else {}


def subjects(settings: FlowSettings) -> dict[str, Subject]:
    """What the settings say, by the ensemble's name."""
    faces = settings.retrain_data, settings.retrain_config, settings.retrain_schedule
    speech = settings.retrain_speech_data, settings.retrain_speech_config, settings.retrain_speech_schedule
    return {
        EMOTION.name: Subject(EMOTION, NAME, "MIEN_RETRAIN", *faces),
        SPEECH_EMOTION.name: Subject(SPEECH_EMOTION, "speech", "MIEN_RETRAIN_SPEECH", *speech),
    }


def ensemble_of(config: str) -> EnsembleSpec:
    """The ensemble whose releases a configuration makes.

    Args:
        config: a configuration's name, or a file with one.

    Raises:
        TrainingError: there is no such configuration, or it names no network.
    """
    from training import networks  # imports Keras
    from training.config_file import open_config

    return networks.find(open_config(config).network).ensemble
