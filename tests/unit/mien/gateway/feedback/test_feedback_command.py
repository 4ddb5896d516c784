"""What a reviewer types."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mien.gateway.command import main
from mien.gateway.feedback.kinds import SPEECH
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore
from tests.unit.mien.gateway.feedback.conftest import face, given

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store() -> Iterator[FeedbackStore]:
    store = FeedbackStore(FeedbackSettings())
    yield store
    store.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["feedback", *arguments]) == 0
    return capsys.readouterr().out


def test_corrections_are_listed_accepted_and_rejected(store: FeedbackStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list") == "There is no such correction.\n"
    first, second = (store.add(given(seed, contributor=f"person-{seed}"), "anonymous").id for seed in range(2))
    header, *lines = run(capsys, "list").splitlines()
    names = ["id", "given", "state", "ensemble", "predicted", "corrected", "release", "contributor", "dataset"]
    assert header.split() == names
    assert [line.split()[0] for line in lines] == [first, second]
    assert run(capsys, "accept", first) == f"{first} accepted: happy -> sad\n"
    assert run(capsys, "reject", second) == f"{second} rejected: happy -> sad\n"
    accepted = json.loads(run(capsys, "list", "--state", "accepted", "--json"))
    assert (accepted["id"], accepted["contributor"]) == (first, "person-0")
    assert accepted["reviewer"].startswith("operator:")


def test_a_face_is_shown_only_into_a_new_file(
    store: FeedbackStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    identifier, file = store.add(given(3), "anonymous").id, tmp_path / "face.png"
    shown = run(capsys, "show", identifier, "--save-picture", str(file))
    assert "I agree that this picture" in shown
    assert file.read_bytes() == face(3)
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["feedback", "show", identifier, "--save-picture", str(file)]) == 8
    assert "File exists" in capsys.readouterr().err


def test_speech_is_shown_into_a_file_of_its_own_kind(
    store: FeedbackStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    identifier = store.add(replace(given(), example=b"some sound", kind=SPEECH), "anonymous").id
    file = tmp_path / "said.flac"
    shown = run(capsys, "show", identifier, "--save-recording", str(file))
    assert "I agree that this recording of speech" in shown
    assert file.read_bytes() == b"some sound"
    assert main(["feedback", "show", identifier, "--save-picture", str(tmp_path / "face.png")]) == 8
    assert "has no picture: use --save-recording" in capsys.readouterr().err


def test_corrections_are_erased_and_the_log_tells_of_it(
    store: FeedbackStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one = store.add(given(0), "anonymous").id
    others = [store.add(given(seed, contributor="me"), "anonymous").id for seed in (1, 2)]
    assert run(capsys, "erase", one) == f"{one} erased\n"
    assert run(capsys, "erase", "--contributor", "me").split() == [others[0], "erased", others[1], "erased"]
    assert list((tmp_path / "feedback/pictures").iterdir()) == []
    entries = [json.loads(line) for line in run(capsys, "audit", one).splitlines()]
    assert [entry["action"] for entry in entries] == ["given", "erasing", "erased"]
    assert run(capsys, "purge") == "expired: 0, abandoned: 0, half erased: 0, orphans: 0, failed: 0\n"


def test_keys_are_rotated(store: FeedbackStore, capsys: pytest.CaptureFixture[str]) -> None:
    identifier = store.add(given(4), "anonymous").id
    assert run(capsys, "rotate-keys") == "1 pictures are encrypted with the first key.\n"
    assert store.example(identifier, "operator:me") == face(4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "0" * 32], "There is no correction"),
        (["accept", "nonsense"], "There is no correction 'nonsense'"),
        (["erase"], "Say what to erase"),
        (["erase", "--contributor", "nobody"], "no correction of a contributor 'nobody'"),
    ],
)
def test_a_mistake_ends_in_a_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", *arguments]) == 8
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert words in error
