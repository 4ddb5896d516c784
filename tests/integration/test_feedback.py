"""A correction's way: given to a real gateway, accepted by command, collected, and read as training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from flows.errors import FlowError
from flows.feedback import collection
from flows.feedback.collection import FEEDBACK_READY, CollectionSettings, collect_feedback, with_corrections
from mien.gateway.command import main
from tests.gateways import running_gateway
from tests.unit.training.faces import picture, png, write_tree
from training.dataset import load
from training.sources import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from training.dataset import Dataset

SEED = 7000


def face(number: int) -> bytes:
    return png(np.dstack([picture(SEED + number, 96)] * 3))


def give(client: httpx.Client, number: int) -> tuple[str, str]:
    """Give a correction; returns its id and its erasure token."""
    fields = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}
    answer = client.post("/v1/feedback", files={"image": ("face.png", face(number))}, data=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["erasure_token"]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The events that the flow emits, caught: no Prefect server runs here."""
    emitted: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(collection, "emit_event", lambda event, resource, payload: emitted.append((event, payload)))
    with disable_run_logger():
        yield emitted


def test_a_correction_travels_from_rest_into_training_data_and_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, dict[str, Any]]]
) -> None:
    base = write_tree(tmp_path / "base")
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    settings = CollectionSettings(batch=2, weight=2)
    assert collect_feedback.fn(base, settings) is None  # nobody ever gave any
    assert with_corrections(base) == base
    with running_gateway("127.0.0.1:9", tmp_path) as gateway, gateway.client() as client:
        given = [give(client, number) for number in range(3)]
        ids = [identifier for identifier, _ in given]
        assert main(["feedback", "accept", *ids[:2]]) == 0
        with pytest.raises(FlowError, match="MIEN_RETRAIN_DATA"):
            collect_feedback.fn(None, settings)
        dataset = collect_feedback.fn(base, settings)
        assert dataset is not None
        assert events == [(FEEDBACK_READY, {"data": str(dataset), "corrections": 2, "new": 2})]
        assert collect_feedback.fn(base, settings) is None  # nothing new
        read = load(dataset)
        assert corrections_in(read) == {ids[0]: 2, ids[1]: 2}
        rows = [row for row, name in enumerate(read.train.names) if ids[1] in name]
        assert read.labels[read.train.labels[rows[0]]] == "fear"
        np.testing.assert_array_equal(read.train.examples[rows[0], ..., 0], decode(face(1))[0])
        # Erasure reaches what was made before.
        erased = client.delete(f"/v1/feedback/{ids[0]}", headers={"X-Erasure-Token": given[0][1]})
        assert erased.status_code == 204
        assert collect_feedback.fn(base, settings) is None
        assert corrections_in(load(dataset)) == {ids[1]: 2}
        # Whatever else starts a retraining, what was accepted is trained with.
        assert corrections_in(load(with_corrections(base))) == {ids[1]: 2}
        assert with_corrections(dataset) == dataset
        assert not [path for path in tmp_path.rglob("*") if ids[0] in path.name]
        # Nothing of a picture is in what the gateway logs.
        assert "PNG" not in gateway.log
    assert len(events) == 1


def test_a_killed_collection_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, dict[str, Any]]]
) -> None:
    from mien.gateway.feedback.settings import FeedbackSettings
    from mien.gateway.feedback.store import FeedbackStore, GivenCorrection
    from mien.gateway.feedback.tables import State

    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    store = FeedbackStore(FeedbackSettings())
    identifier = store.add(GivenCorrection("happy", "sad", "1", face(0)), "anonymous").id
    store.review(identifier, State.ACCEPTED, "operator:me")
    base, settings = write_tree(tmp_path / "base"), CollectionSettings(batch=1)
    with monkeypatch.context() as patched:
        patched.setattr(FeedbackStore, "collect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect_feedback.fn(base, settings)
    assert collect_feedback.fn(base, settings) is not None
    assert [event for event, _ in events] == [FEEDBACK_READY] * 2
    assert store.find(identifier).collected is not None
    store.close()


def interrupted(*_arguments: object) -> None:
    raise KeyboardInterrupt


def corrections_in(dataset: Dataset) -> dict[str, int]:
    """How often each correction is in each split of a dataset."""
    names = [name.rpartition("/")[2] for name in dataset.train.names if "feedback/" in name]
    assert not any("feedback/" in name for name in dataset.validation.names)
    return {name.removesuffix(".png"): names.count(name) for name in sorted(names, key=names.index)}
