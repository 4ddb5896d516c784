"""What the tests of faults share: how much of each they do, and where their figures go."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import postgres
from tests.conftest import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Postgres

SHORT_SOAK_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a fault a test does.

    Attributes:
        is_full: as `make faults` does it, for the table; otherwise as in `make test`, to see that it works at all.
        seed: of everything random.
        soak_s: seconds of the soak.
    """

    is_full: bool
    seed: int
    soak_s: float

    def of(self, full: int, short: int) -> int:
        """The number for this scale."""
        return full if self.is_full else short

    def chance(self, name: str) -> random.Random:
        """A source of chance that depends on the seed and the test's name for it alone."""
        return random.Random(f"{self.seed} {name}")


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """Full and by the options under `make faults`, else short and always the same."""
    option = request.config.getoption
    is_full = option("--scale", "short") == "full"
    soak_min = option("--soak-min", SHORT_SOAK_MIN) if is_full else SHORT_SOAK_MIN
    return Scale(is_full, option("--seed", 1), soak_min * 60)


class Figures:
    """Takes what a test has measured, for its row of the table."""

    def __init__(self, node: pytest.Item) -> None:
        self._properties = node.user_properties

    def add(self, text: str) -> None:
        """A phrase with what was counted or measured: "30 releases: 0 lost, 0 mixed of 48,211"."""
        print(text)
        self._properties.append(("figure", text))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """`figures.add(text)`: report a figure, also before what it is held against fails."""
    return Figures(request.node)


@pytest.fixture
def database() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop."""
    programs = postgres.programs()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed; `make system-deps` does it")
        return
    with postgres.running_postgres(programs) as server:
        yield server
