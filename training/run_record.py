"""What a training run left in its folder, for its report; every part may be missing."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEASURED_FILE = "measured.json"
"""What was measured of a run's recipe by others than its validation split: figures for a manifest, and how."""

_RESULT_FILE = "result.json"
_LOG_FILE = "log.csv"


@dataclass(frozen=True)
class RunRecord:
    """A training run.

    Attributes:
        network: its network's name, if known.
        config: its configuration.
        dataset: name and digest of what it was fitted to.
        history: each figure by epoch, under Keras' names.
        facts: further figures, such as ``best_epoch`` and ``peak_memory_mb``.
    """

    network: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, list[float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_run(folder: Path) -> RunRecord:
    """Read ``result.json``, and ``log.csv`` where a run was broken off before it wrote the other.

    Raises:
        TrainingError: one of the files is there and damaged.
    """
    record: dict[str, Any] = {}
    result = folder / _RESULT_FILE
    if result.is_file():
        try:
            record = json.loads(result.read_text(encoding="utf-8"))
        except ValueError as error:
            message = f"{result} is damaged: {error}. Remove it to have a report without the run's history."
            raise TrainingError(message) from error
    history = record.pop("history", None) or _read_log(folder / _LOG_FILE)
    return RunRecord(
        network=record.pop("network", None),
        config=record.pop("config", {}),
        dataset=record.pop("dataset", {}),
        history=history,
        facts=record,
    )


def read_measured(folder: Path) -> Mapping[str, Any]:
    """Read ``measured.json``; empty where there is none.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / MEASURED_FILE
    if not path.is_file():
        return {}
    try:
        measured: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path} is damaged: {error}. Remove it to export without these figures."
        raise TrainingError(message) from error
    return measured


def _read_log(path: Path) -> dict[str, list[float]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {}) if name != "epoch"}
    except (TypeError, ValueError) as error:
        message = f"{path} is damaged: {error}. Remove it to have a report without the run's history."
        raise TrainingError(message) from error
