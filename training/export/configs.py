"""Model configurations for a repository that has none yet, after those that ship with Mien."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec

CONFIG_FILE = "config.pbtxt"
_SHIPPED = Path(__file__).resolve().parents[2] / "model_repository"


def add_missing(repository: Path, ensemble: EnsembleSpec, release: int) -> None:
    """Give every model of `ensemble` that has no config.pbtxt one that serves `release`; the others stay.

    Args:
        repository: root of a model repository that holds the release.
        ensemble: with the members of that release.
        release: version of all its models.
    """
    for model in (*ensemble.members, *ensemble.twins):
        if not (repository / model.name / CONFIG_FILE).exists():
            _save(_shipped(model.name, release), repository / model.name)
    if not (repository / ensemble.name / CONFIG_FILE).exists():
        config = _shipped(ensemble.name, release)
        labels = "".join(f"{label}\n" for label in ensemble.labels)
        (repository / ensemble.name / config.output[0].label_filename).write_text(labels, encoding="utf-8")
        _connect(config, ensemble, release)
        _save(config, repository / ensemble.name)


def _shipped(model: str, release: int) -> model_config_pb2.ModelConfig:
    text = (_SHIPPED / model / CONFIG_FILE).read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    config.version_policy.specific.versions[:] = [release]
    return config


def _connect(config: model_config_pb2.ModelConfig, ensemble: EnsembleSpec, release: int) -> None:
    """Lead the ensemble's input through its members, one after the other, to its output."""
    del config.ensemble_scheduling.step[:]
    flowing = ensemble.input.name
    for member in ensemble.members:
        step = config.ensemble_scheduling.step.add(model_name=member.name, model_version=release)
        step.input_map[member.input.name] = flowing
        # A tensor between two members must not be called like one of the ensemble's own.
        flowing = ensemble.output.name if member is ensemble.members[-1] else member.output.name.lower()
        step.output_map[member.output.name] = flowing


def _save(config: model_config_pb2.ModelConfig, model: Path) -> None:
    """Write the configuration whole or not at all."""
    partial = model / f".{CONFIG_FILE}.partial"
    partial.write_text(text_format.MessageToString(config), encoding="utf-8")
    partial.replace(model / CONFIG_FILE)
