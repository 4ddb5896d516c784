from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from flows.errors import TrafficError
from flows.traffic.pages import Pages, Samples
from flows.traffic.stability import DriftSettings
from flows.traffic.window import TrafficWindow
from mien import Result
from mien.contract import EMOTION, EMOTION_LABELS, SPEECH_EMOTION, SPEECH_LABELS
from mien.metrics import TrafficMetrics
from training.answer_profile import AnswerProfile

if TYPE_CHECKING:
    from pathlib import Path

    from flows.traffic.stability import Finding
    from mien.contract import EnsembleSpec

SETTINGS = DriftSettings(min_faces=100)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
OWN = AnswerProfile(3_589, {label: float(label == "happy") for label in EMOTION_LABELS}, (0,) * 7 + (1, 0), 0.85)


class Watch:
    """Looks again and again at a service, each time in another process: the window goes over the disk."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.restart()

    def restart(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics = TrafficMetrics(self._registry)

    def serve(self, label: str, faces: int, *, release: int = 1, model: str = "emotion") -> None:
        for _ in range(faces):
            self._metrics.count_result(Result(label, 0.85, model, str(release), 0.0, 0.004, "id"))

    def look(
        self,
        own: AnswerProfile | None = OWN,
        *,
        ensemble: EnsembleSpec = EMOTION,
        release: int = 1,
        settings: DriftSettings = SETTINGS,
        hours: float = 0,
        gone: bool = False,
    ) -> Finding:
        page = Samples.parse(generate_latest(self._registry).decode())
        pages = Pages({}, {"http://a": "gone"}) if gone else Pages({"http://a": page}, {})
        now = NOW + timedelta(hours=hours)
        finding, window = TrafficWindow.load(self.state, ensemble).look(pages, release, own, settings, now)
        window.save(self.state)
        return finding


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_traffic_like_the_validation_faces_is_stable(watch: Watch) -> None:
    watch.serve("happy", 100)
    finding = watch.look()
    assert (finding.status, finding.reference) == ("stable", "its 3589 validation faces")


def test_traffic_that_has_moved_is_news_once_in_a_while(watch: Watch) -> None:
    found = []
    for hours in (0, 1, 25):
        watch.serve("sad", 100)
        finding = watch.look(hours=hours)
        found.append((finding.status, finding.is_news))
    assert found == [("drifted", True), ("drifted", False), ("drifted", True)]


def test_faces_are_gathered_until_there_are_enough_and_judged_once(watch: Watch) -> None:
    found = []
    for _ in range(4):
        watch.serve("happy", 60)
        finding = watch.look()
        found.append((finding.status, finding.observed.faces if finding.observed else 0))
    assert found == [("waiting", 60), ("stable", 120), ("waiting", 60), ("stable", 120)]


def test_a_service_that_restarts_loses_no_faces(watch: Watch) -> None:
    watch.serve("happy", 60)
    watch.look()
    watch.restart()
    watch.serve("sad", 45)
    finding = watch.look()
    assert finding.observed is not None
    assert finding.observed.faces == 105
    assert finding.observed.labels["sad"] == pytest.approx(45 / 105)


def test_a_page_that_cannot_be_read_counts_later(watch: Watch) -> None:
    watch.serve("happy", 60)
    watch.look()
    assert watch.look(gone=True).unread == {"http://a": "gone"}
    watch.serve("happy", 60)
    finding = watch.look()
    assert finding.observed is not None
    assert finding.observed.faces == 120


def test_without_a_profile_the_first_faces_are_the_reference(watch: Watch) -> None:
    watch.serve("happy", 100)
    first = watch.look(own=None)
    assert first.status == "reference"
    assert "its manifest does not tell" in first.sentence
    watch.serve("happy", 100)
    second = watch.look(own=None)
    assert (second.status, second.reference) == ("stable", "the first 100 faces that it served")
    watch.serve("sad", 100)
    assert watch.look(own=None).status == "drifted"


def test_the_settings_can_take_the_first_faces_too(watch: Watch) -> None:
    watch.serve("sad", 100)
    finding = watch.look(settings=SETTINGS.model_copy(update={"reference": "traffic"}))
    assert finding.status == "reference"
    assert "the settings say so" in finding.sentence


def test_only_the_faces_of_the_release_served_count_also_those_of_its_trial(watch: Watch) -> None:
    watch.serve("sad", 500, release=1)
    watch.serve("happy", 40, release=2, model="emotion_candidate")
    watch.serve("happy", 60, release=2)
    watch.serve("sad", 500, release=2, model="somebody_elses")
    finding = watch.look(release=2)
    assert finding.observed is not None
    assert (finding.status, finding.observed.faces) == ("stable", 100)


def test_each_ensemble_is_looked_at_by_its_own_answers(watch: Watch) -> None:
    own = AnswerProfile(409, {label: float(label == "boredom") for label in SPEECH_LABELS}, OWN.confidence, 0.85)
    watch.serve("sad", 100)
    for model, windows in (("speech_emotion", 70), ("speech_emotion_candidate", 30)):
        watch.serve("boredom", windows, model=model)
    found = [watch.look(), watch.look(own, ensemble=SPEECH_EMOTION)]
    assert [(finding.ensemble, finding.status) for finding in found] == [
        ("emotion", "drifted"),
        ("speech_emotion", "stable"),
    ]
    assert found[1].reference == "its 409 validation windows of speech"
    watch.serve("boredom", 60, model="speech_emotion")
    later = watch.look(own, ensemble=SPEECH_EMOTION)
    assert later.observed is not None
    assert (later.observed.faces, later.observed.labels) == (60, own.labels)
    assert watch.look().observed is None


def test_without_traffic_there_is_nothing_to_find(watch: Watch) -> None:
    finding = watch.look()
    assert (finding.status, finding.observed) == ("waiting", None)


def test_a_damaged_file_is_named(watch: Watch) -> None:
    watch.look()
    (file,) = watch.state.iterdir()
    file.write_text("{")
    with pytest.raises(TrafficError, match=rf"{file} is damaged. Delete it"):
        watch.look()
