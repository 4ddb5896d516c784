"""Row 1: what is served changes again and again, and no caller loses, mixes or goes back in what it is answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving import ModelRepository, Promoter, publish
from tests.callers import CALLERS, Answered, Callers, faces
from tests.conftest import server_settings
from tests.releases import answers, export_variant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.conftest import MakeServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(1)]


@dataclass(frozen=True, slots=True)
class Change:
    """Of the release that is served: the time in which it happened, by `time.monotonic()`."""

    begin_s: float
    end_s: float
    release: int


def out_of_order(calls: Iterable[Answered], first: int, changes: list[Change]) -> list[str]:
    """Answers of one caller from a release that was not served during the call, or no longer for this caller.

    Args:
        calls: of the caller, in order.
        first: the release served before the first change.
        changes: in order.
    """
    served, place, found = [first, *(change.release for change in changes)], 0, []
    for call in calls:
        earliest = sum(change.end_s < call.begin_s for change in changes)
        latest = sum(change.begin_s < call.end_s for change in changes)
        possible = range(max(place, earliest), latest + 1)
        place = next((number for number in possible if served[number] == call.release), -1)
        if place < 0:
            return [*found, f"release {call.release} answered a call during changes {earliest} to {latest}"]
    return found


@pytest.mark.timeout(600)
def test_releases_and_rollbacks_under_load(
    make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    """Two of three changes promote a new release, the third goes back to the one before."""
    count, chance = scale.of(full=30, short=6), scale.chance("releases")
    settings = server_settings(tmp_path)
    changes: list[Change] = []
    swaps_s = []
    with make_server(tmp_path / "state") as server, server.control() as control:
        repository = ModelRepository(server.settings.model_repository)
        promoter = Promoter(repository, EMOTION, control)
        expected = {1: answers(repository.path, faces(), 1)}
        for number in range(2, 2 + count - count // 3):
            favour, strength = chance.randrange(7), 1 + number / 4
            export = export_variant(settings, tmp_path / f"export-{number}", favour=favour, strength=strength)
            expected[number] = answers(export, faces())
        newest = 1
        client_settings = ClientSettings(endpoints=server.endpoint, deadline_s=60)
        with EmotionClient(client_settings) as client, Callers(client, expected) as callers:
            callers.wait_for_more()
            for number in range(count):
                begin = time.monotonic()
                if number % 3 == 2:
                    promotion = promoter.rollback()
                else:
                    newest += 1
                    assert publish(tmp_path / f"export-{newest}", repository, EMOTION).manifest.release == newest
                    begin = time.monotonic()
                    promotion = promoter.promote(newest)
                changes.append(Change(begin, time.monotonic(), promotion.entry.release))
                swaps_s.append(promotion.swap_s)
                callers.wait_for_more()
    disorder = [fault for calls in callers.answered for fault in out_of_order(calls, 1, changes)]
    lost = [fault for fault in callers.wrong if "not wholly" not in fault]
    figures.add(
        f"{count} changes under {CALLERS} callers: {len(lost)} lost, {len(callers.wrong) - len(lost)} mixed,"
        f" {len(disorder)} out of order of {callers.total:,}; swap {np.median(swaps_s) * 1e3:.1f} ms (median; longest"
        f" {max(swaps_s) * 1e3:.1f})"
    )
    assert not callers.wrong
    assert not disorder
    assert len(callers.releases) > count // 2
