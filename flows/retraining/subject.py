"""What a configuration is about: the ensemble that its network is served in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec


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
