"""Row 17: PostgreSQL and Redis stop, crash and freeze while the gateway works with them, and come back."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from mien.gateway.feedback.desk import QUEUE_S
from mien.gateway.feedback.postgresql import SILENCE_S
from mien.gateway.rates import REDIS_TIMEOUT_S
from tests.crowd import Crowd
from tests.gateways import running_gateway
from tests.redis_server import RedisServer, running_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx

    from tests.conftest import WaitUntil
    from tests.faults.conftest import Figures, Scale
    from tests.gateways import RunningGateway
    from tests.postgres import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.fault(17)]

GIVERS = min(32, (os.cpu_count() or 1) + 4) + 1
"""More than asyncio has threads."""

NOTHING = "127.0.0.1:9"
"""No model server is needed: neither corrections nor pictures without a face go to it."""

UNANSWERED_S = QUEUE_S + 3 * SILENCE_S
"""The longest that a correction may wait for its refusal: for a thread, for an old connection and for a new one."""


def picture() -> bytes:
    """A PNG without a face."""
    with io.BytesIO() as file:
        Image.effect_noise((96, 96), 80).convert("RGB").save(file, "PNG")
        return file.getvalue()


PICTURE = picture()
FIELDS = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}


@dataclass
class Givers(Crowd):
    """Callers that give corrections without a pause until the end of the block, and erase every third again.

    Attributes:
        gateway: whom they give them to.
        kept: receipts of what was acknowledged, but for what was asked to be erased.
        erased: ids whose erasure was acknowledged.
        in_doubt: ids whose erasure was refused: it may have begun.
        refused: corrections that were refused.
        wrong: answers that nobody should get.
        longest_s: that an answer took.
    """

    gateway: RunningGateway
    kept: list[dict[str, str]] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    in_doubt: list[str] = field(default_factory=list)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def _tasks(self) -> Sequence[Callable[[], None]]:
        return [self._give_on] * GIVERS

    def _give_on(self) -> None:
        given = 0
        with self.gateway.client() as client:
            while not self._stop.is_set():
                answer = self._timed(
                    lambda: client.post("/v1/feedback", files={"image": ("face.png", PICTURE)}, data=FIELDS)
                )
                if answer.status_code == 201:
                    given += 1
                    self._keep(client, answer.json(), erase=given % 3 == 0)
                elif answer.status_code == 503 and "retry-after" in answer.headers:
                    self.refused += 1
                    self._stop.wait(0.02)
                else:
                    self.wrong.append(f"{answer.status_code} {answer.text}")

    def _keep(self, client: httpx.Client, receipt: dict[str, str], *, erase: bool) -> None:
        if not erase:
            self.kept.append(receipt)
            return
        token = {"X-Erasure-Token": receipt["erasure_token"]}
        answer = self._timed(lambda: client.delete(f"/v1/feedback/{receipt['id']}", headers=token))
        if answer.status_code == 204:
            self.erased.append(receipt["id"])
        elif answer.status_code == 503:
            self.in_doubt.append(receipt["id"])
        else:
            self.wrong.append(f"erasure: {answer.status_code} {answer.text}")

    def _timed(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        begin_s = time.monotonic()
        answer = ask()
        self.longest_s = max(self.longest_s, time.monotonic() - begin_s)
        return answer


@pytest.fixture
def counters() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.mark.timeout(300)
def test_corrections_while_postgresql_is_away(
    database: Postgres,
    counters: RedisServer,
    tmp_path: Path,
    wait_until: WaitUntil,
    scale: Scale,
    figures: Figures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIEN_FEEDBACK_DATABASE", database.url)
    monkeypatch.setenv("MIEN_FEEDBACK_PER_MINUTE", "1000000")
    faults: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "crashed": lambda: database.stopped("immediate"),
        "frozen": database.frozen,
        "stopped": lambda: database.stopped("fast"),
    }
    rounds = list(faults.items())[: scale.of(full=3, short=2)]
    back_s, other_s = [], 0.0
    # With Redis, so that pictures need threads as well.
    settings = {"DETECT_PER_MINUTE": "1000000", "WORKERS": "1", "LIMITS_URL": counters.url}
    with running_gateway(NOTHING, tmp_path, **settings) as gateway:
        with gateway.client() as client, Givers(gateway) as givers:

            def wait_for_more() -> None:
                wanted = len(givers.kept) + 3 * GIVERS
                wait_until(lambda: len(givers.kept) >= wanted or givers.wrong)

            for _, fault in rounds:
                wait_for_more()
                enough = givers.refused + scale.of(full=2 * GIVERS, short=1)
                with fault():
                    wait_until(lambda enough=enough: givers.refused >= enough or givers.wrong, timeout_s=60)
                    for _ in range(10):
                        asked_s = time.monotonic()
                        answer = client.post("/v1/detect", files={"image": ("a.png", PICTURE)})
                        other_s = max(other_s, time.monotonic() - asked_s)
                        assert answer.status_code == 200, answer.text
                begin_s = time.monotonic()
                wait_for_more()
                back_s.append(time.monotonic() - begin_s)
        listed = all_listed(gateway)
        missing = {receipt["id"] for receipt in givers.kept} - listed
        undead = set(givers.erased) & listed
        unasked = listed - {receipt["id"] for receipt in givers.kept} - set(givers.in_doubt)
        with gateway.client() as client:
            unreadable = [
                receipt["id"]
                for receipt in givers.kept[:: max(1, len(givers.kept) // 50)]
                if client.get(f"/v1/feedback/{receipt['id']}/picture").status_code != 200
            ]
        log = gateway.log
    figures.add(
        f"PostgreSQL {', '.join(name for name, _ in rounds)}: {len(givers.kept)} corrections acknowledged,"
        f" {len(missing)} lost; {len(givers.erased)} erasures acknowledged, {len(undead)} back; {givers.refused}"
        f" refused (503) within {givers.longest_s:.1f} s, {len(unasked)} of them kept all the same; pictures answered"
        f" meanwhile within {other_s:.2f} s; taken again {max(back_s):.1f} s after its return at the latest"
    )
    assert not givers.wrong, givers.wrong[:3]
    assert not missing
    assert not undead
    assert not unreadable
    assert len(unasked) <= GIVERS * len(rounds)  # the connection ended between a commit and its acknowledgement
    assert givers.longest_s < UNANSWERED_S
    assert other_s < 2
    assert max(back_s) < 15
    assert "Traceback" not in log


def all_listed(gateway: RunningGateway) -> set[str]:
    """The ids of all corrections."""
    found: set[str] = set()
    with gateway.client() as client:
        while True:
            page = client.get("/v1/feedback", params={"limit": 500, "offset": len(found)}).raise_for_status().json()
            found |= {entry["id"] for entry in page["corrections"]}
            if len(found) >= page["total"] or not page["corrections"]:
                return found


LIMIT = 8


@dataclass
class Counted:
    """Callers of two gateways, each new to both: how many of their requests are taken.

    Attributes:
        gateways: of which every other request goes to each.
        longest_s: that an answer took.
        total: answers.
        slow: of those, how many took longer than Redis is waited for.
    """

    gateways: tuple[httpx.Client, httpx.Client]
    longest_s: float = 0.0
    total: int = 0
    slow: int = 0
    _callers: int = 0

    def taken(self) -> int:
        """Of three times the limit."""
        self._callers += 1
        caller = {"X-Forwarded-For": f"192.0.2.{self._callers}"}
        statuses: Counter[int] = Counter()
        for number in range(3 * LIMIT):
            begin_s = time.monotonic()
            answer = self.gateways[number % 2].post("/v1/detect", files={"image": ("a.png", PICTURE)}, headers=caller)
            took_s = time.monotonic() - begin_s
            self.longest_s = max(self.longest_s, took_s)
            self.slow += took_s > REDIS_TIMEOUT_S
            statuses[answer.status_code] += 1
        self.total += 3 * LIMIT
        assert statuses.keys() == {200, 429}, statuses
        return statuses[200]


@pytest.mark.timeout(300)
def test_limits_while_redis_is_away(
    counters: RedisServer, tmp_path: Path, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    @contextmanager
    def killed() -> Iterator[None]:
        counters.kill()
        yield
        counters.start()

    settings = {
        "LIMITS_URL": counters.url,
        "DETECT_PER_MINUTE": str(LIMIT),
        "TRUSTED_PROXIES": "127.0.0.1",
        "WORKERS": "1",
    }
    back_s = []
    faults = [killed, counters.frozen] * scale.of(full=2, short=1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        running_gateway(NOTHING, tmp_path / "one", **settings) as one,
        running_gateway(NOTHING, tmp_path / "two", **settings) as two,
        one.client() as first,
        two.client() as second,
    ):
        counted = Counted((first, second))
        for fault in faults:
            assert counted.taken() == LIMIT
            with fault():
                assert counted.taken() == 2 * LIMIT
            begin_s = time.monotonic()
            wait_until(lambda: counted.taken() == LIMIT, every_s=0.5)
            back_s.append(time.monotonic() - begin_s)
        log = one.log + two.log
    figures.add(
        f"Redis killed and frozen {len(faults) // 2} times, 2 gateways, {LIMIT} pictures a minute: {LIMIT} taken of a"
        f" caller with it, {2 * LIMIT} without, no other answer than 200 and 429, {counted.slow} of"
        f" {counted.total} after more than {REDIS_TIMEOUT_S} s, the slowest after {counted.longest_s:.2f} s;"
        f" shared again {max(back_s):.1f} s after its return at the latest"
    )
    assert counted.longest_s < REDIS_TIMEOUT_S + 2
    assert counted.slow < LIMIT
    assert max(back_s) < 15
    assert "Traceback" not in log
