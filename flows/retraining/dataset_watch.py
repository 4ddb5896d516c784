"""Looks whether a dataset has changed, and says so with an event that starts a retraining."""

from __future__ import annotations

import hashlib
from pathlib import Path  # noqa: TC003 - Prefect reads the annotations at run time

from prefect import flow, get_run_logger
from prefect.events import emit_event
from prefect.variables import Variable

from mien.contract import EMOTION, ensemble_named

DATASET_CHANGED = "mien.dataset.changed"
RESOURCE = "mien.dataset"
"""Of the event, with the name after it of the ensemble that the dataset is for."""


@flow(name="watch-dataset")
def watch_dataset(data: Path, ensemble: str = EMOTION.name) -> bool:
    """Compare the dataset's digest with that of the last look; the first look only remembers it.

    Args:
        data: a dataset as `training.dataset.load` takes it.
        ensemble: the name of that which it is for.

    Returns:
        whether it has changed; the event ``mien.dataset.changed`` tells of it too, with `data` and the digest.

    Raises:
        DatasetError: it cannot be read.
    """
    from training.dataset import load

    digest = load(data, ensemble_named(ensemble)).digest
    variable = f"dataset_{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]}"
    before = Variable.get(variable)
    if before == digest:
        get_run_logger().info("%s is what it was.", data)
        return False
    if before is None:
        get_run_logger().info("%s is known from now on: digest %s.", data, digest)
        Variable.set(variable, digest)
        return False
    emit_event(
        DATASET_CHANGED,
        resource={"prefect.resource.id": f"{RESOURCE}.{ensemble}", "prefect.resource.name": data.name},
        payload={"data": str(data), "digest": digest, "before": before},
    )
    Variable.set(variable, digest, overwrite=True)
    get_run_logger().info("%s has changed: digest %s, before %s.", data, digest, before)
    return True
