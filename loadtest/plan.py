"""What a load test does; the command line makes it, Locust's processes read it as JSON."""

from __future__ import annotations

import random
from itertools import repeat
from pathlib import Path  # noqa: TC003 (pydantic reads the annotations at run time)
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from loadtest import shapes
from loadtest.shapes import ShapeName  # noqa: TC001 (pydantic reads the annotations at run time)
from mien import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["grpc", "pipeline", "rest", "speech"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""`grpc`: prepared faces over the SDK's channel; `pipeline`: photographs through the SDK; `rest`: the gateway;
`speech`: prepared windows of speech, as `grpc`."""

Arrivals = Literal["constant", "poisson"]


class LoadPlan(BaseModel):
    """One load test.

    Attributes:
        users: how many callers of each kind at the shape's peak; with a `rate`, the proportion of their calls.
        shape: how the load changes over the test.
        duration_s: of the whole test.
        rate: calls a second at the peak that become due whether or not earlier ones have been answered (open loop);
            None for callers that call again as soon as they are answered (closed loop).
        arrivals: how these calls are spaced.
        in_flight: with a `rate`, how many calls of each kind may be on their way at once.
        faces: in each call of a `grpc` user.
        windows: in each call of a `speech` user.
        pictures: what `pipeline` and `rest` users send, and `grpc` users take their faces from.
        made_faces: whether `grpc` users send made faces instead.
        recordings: what `speech` users take their windows from; without any, they send made ones.
        deadline_s: of each call.
        seed: of the random gaps.
        workers: processes that share the load.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: dict[Kind, int]
    shape: ShapeName = "soak"
    duration_s: float = Field(default=30.0, gt=0)
    rate: float | None = Field(default=None, gt=0)
    arrivals: Arrivals = "poisson"
    in_flight: int = Field(default=256, ge=1)
    faces: int = Field(default=1, ge=1, le=contract.MAX_BATCH_SIZE)
    windows: int = Field(default=1, ge=1, le=contract.MAX_BATCH_SIZE)
    pictures: tuple[Path, ...] = ()
    made_faces: bool = True
    recordings: tuple[Path, ...] = ()
    deadline_s: float = Field(default=10.0, gt=0)
    seed: int = 1
    workers: int = Field(default=1, ge=1)

    @property
    def stages(self) -> tuple[shapes.Stage, ...]:
        """How the load changes."""
        return shapes.stages(self.shape, self.duration_s)

    @property
    def callers(self) -> dict[Kind, int]:
        """How many callers of each kind there are at the peak, over all workers."""
        return self.users if self.rate is None else dict.fromkeys(self.users, max(self.in_flight, self.workers))

    def arrival_times(self, kind: Kind, worker: int) -> Iterator[float] | None:
        """When the calls of one kind are due in one worker, in seconds; None in a closed loop.

        Each kind has its share of the rate as a process of its own: Poisson processes add up to one.
        """
        if self.rate is None:
            return None
        share = self.users[kind] / sum(self.users.values()) / self.workers
        chance = random.Random(f"{self.seed} {kind} {worker}")  # noqa: S311 - nothing here is a secret
        gaps: Iterator[float] = repeat(1.0)
        if self.arrivals == "poisson":
            gaps = iter(lambda: chance.expovariate(1.0), None)
        return shapes.arrival_times(self.stages, self.rate * share, gaps)
