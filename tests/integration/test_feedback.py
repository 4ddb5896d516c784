"""A correction's way, of a face and of speech: given to a real gateway, accepted by command, collected, and read."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from flows.errors import FlowError
from flows.feedback import collection
from flows.feedback.collection import FEEDBACK_READY, CollectionSettings, collect_feedback, with_corrections
from mien.contract import EMOTION, SPEECH_EMOTION
from mien.errors import SettingsError
from mien.gateway.command import main
from mien.gateway.feedback.kinds import FACE, SPEECH
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore, GivenCorrection
from mien.gateway.feedback.tables import State
from tests.gateways import running_gateway
from tests.unit.training.faces import picture, png, write_tree
from tests.unit.training.voices import voice, wav, write_emodb
from training import recordings, sources
from training.dataset import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from training.dataset import Dataset

SEED = 7000
Events = list[tuple[str, str, dict[str, Any]]]


@dataclass(frozen=True)
class Modality:
    """Faces or speech.

    Attributes:
        ensemble: that is about them.
        write: makes a base dataset.
        route: takes corrections.
        field: of the form that takes the file.
        given: a file, by its number.
        row: what a training reads of it.
        variable: names the base dataset.
    """

    ensemble: EnsembleSpec
    write: Callable[[Path], Path]
    route: str
    field: str
    given: Callable[[int], bytes]
    row: Callable[[bytes], NDArray[Any]]
    variable: str

    def give(self, client: httpx.Client, number: int) -> tuple[str, str]:
        """Give a correction; returns its id and its erasure token."""
        fields = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}
        answer = client.post(self.route, files={self.field: ("file", self.given(number))}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["erasure_token"]

    def load(self, path: Path) -> Dataset:
        return load(path, self.ensemble)


def face(number: int) -> bytes:
    return png(np.dstack([picture(SEED + number, 96)] * 3))


FACES = Modality(
    EMOTION,
    lambda folder: write_tree(folder / "base"),
    "/v1/feedback",
    "image",
    face,
    lambda content: sources.decode(content)[0][..., None],
    "MIEN_RETRAIN_DATA",
)
VOICES = Modality(
    SPEECH_EMOTION,
    lambda folder: write_emodb(folder / "base.zip", ["03", "08", "09"]),
    "/v1/feedback/speech",
    "audio",
    lambda number: wav(voice(100 + 10 * number, 2, 1.2)),
    lambda content: recordings.windows(recordings.decode(content))[0],
    "MIEN_RETRAIN_SPEECH_DATA",
)


@pytest.fixture(params=[FACES, VOICES], ids=["faces", "speech"])
def modality(request: pytest.FixtureRequest) -> Modality:
    found: Modality = request.param
    return found


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[Events]:
    """The events that the flow emits, caught: no Prefect server runs here."""
    emitted: Events = []

    def emit(event: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
        emitted.append((event, resource["prefect.resource.id"], payload))

    monkeypatch.setattr(collection, "emit_event", emit)
    with disable_run_logger():
        yield emitted


def test_a_correction_travels_from_rest_into_training_data_and_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events, modality: Modality
) -> None:
    base, ensemble = modality.write(tmp_path), modality.ensemble
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    settings = CollectionSettings(batch=2, weight=2)

    def collect(data: Path | None = base) -> Path | None:
        return collect_feedback.fn(data, settings, ensemble.name)

    assert collect() is None  # nobody ever gave any
    assert with_corrections(base, ensemble) == base
    with running_gateway("127.0.0.1:9", tmp_path) as gateway, gateway.client() as client:
        given = [modality.give(client, number) for number in range(3)]
        other = VOICES if modality is FACES else FACES
        stranger, _ = other.give(client, 0)
        ids = [identifier for identifier, _ in given]
        assert main(["feedback", "accept", *ids[:2], stranger]) == 0
        with pytest.raises(FlowError, match=modality.variable):
            collect(None)
        dataset = collect()
        assert dataset is not None
        payload = {"data": str(dataset), "corrections": 2, "new": 2}
        assert events == [(FEEDBACK_READY, f"mien.feedback.{ensemble.name}", payload)]
        assert collect() is None  # nothing new
        read = modality.load(dataset)
        assert corrections_in(read) == {ids[0]: 2, ids[1]: 2}
        rows = [row for row, name in enumerate(read.train.names) if ids[1] in name]
        assert read.labels[read.train.labels[rows[0]]] == "fear"
        expected = modality.row(modality.given(1))
        np.testing.assert_allclose(read.train.examples[rows[0]], expected, atol=1e-4)  # speech is kept with 16 bits
        # Erasure reaches what was made before, also where the other modality is collected.
        erased = client.delete(f"/v1/feedback/{ids[0]}", headers={"X-Erasure-Token": given[0][1]})
        assert erased.status_code == 204
        assert collect_feedback.fn(None, settings, other.ensemble.name) is None
        assert corrections_in(modality.load(dataset)) == {ids[1]: 2}
        # Whatever else starts a retraining, what was accepted is trained with.
        assert corrections_in(modality.load(with_corrections(base, ensemble))) == {ids[1]: 2}
        assert with_corrections(dataset, ensemble) == dataset
        assert not [path for path in tmp_path.rglob("*") if ids[0] in path.name]
        # Nothing of a picture is in what the gateway logs.
        assert "PNG" not in gateway.log
    assert len(events) == 1


def test_a_killed_collection_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    with closing(FeedbackStore(FeedbackSettings())) as store:
        identifier = store.add(GivenCorrection("happy", "sad", "1", face(0), kind=FACE), "anonymous").id
        store.review(identifier, State.ACCEPTED, "operator:me")
        base, settings = write_tree(tmp_path / "base"), CollectionSettings(batch=1)
        with monkeypatch.context() as patched:
            patched.setattr(FeedbackStore, "collect", interrupted)
            with pytest.raises(KeyboardInterrupt):
                collect_feedback.fn(base, settings)
        assert collect_feedback.fn(base, settings) is not None
        assert [event for event, *_ in events] == [FEEDBACK_READY] * 2
        assert store.find(identifier).collected is not None


def test_speech_in_which_nobody_speaks_spoils_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    silence = wav(np.zeros(16_000, np.float32))
    with closing(FeedbackStore(FeedbackSettings())) as store:
        ids = []
        for content in (VOICES.given(0), silence):
            ids.append(store.add(GivenCorrection("happy", "sad", "1", content, kind=SPEECH), "anonymous").id)
            store.review(ids[-1], State.ACCEPTED, "operator:me")
    base, settings = VOICES.write(tmp_path), CollectionSettings(batch=2, weight=1)
    dataset = collect_feedback.fn(base, settings, SPEECH_EMOTION.name)
    assert dataset is not None
    assert corrections_in(VOICES.load(dataset)) == {ids[0]: 1}
    assert collect_feedback.fn(base, settings, SPEECH_EMOTION.name) is None, "it is not news for ever"
    assert len(events) == 1


def test_an_ensemble_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))
    with pytest.raises(SettingsError, match="There is no ensemble 'gait'; there are emotion, speech_emotion"):
        collect_feedback.fn(None, CollectionSettings(), "gait")
    assert events == []


def interrupted(*_arguments: object) -> None:
    raise KeyboardInterrupt


def corrections_in(dataset: Dataset) -> dict[str, int]:
    """How often each correction is in each split of a dataset."""
    names = [name.rpartition("/")[2] for name in dataset.train.names if "feedback/" in name]
    assert not any("feedback/" in name for name in dataset.validation.names)
    return {name.partition(".")[0]: names.count(name) for name in sorted(names, key=names.index)}
