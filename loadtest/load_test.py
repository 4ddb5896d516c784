"""One load test from the first look at the servers to the last."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.generator import generate
from loadtest.pictures import made_faces
from loadtest.servers import MetricsWatch, gateway_load, grown, mean_gauges, model_loads
from loadtest.speech import made_windows
from loadtest.summary import ServerSide, Summary, summarize
from mien import EmotionClient
from mien.detectors import load_detector
from mien.errors import InferenceError, ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.generator import Distribution
    from loadtest.plan import LoadPlan
    from loadtest.servers import Scrape
    from loadtest.settings import LoadTestSettings
    from mien.settings import ClientSettings

ANSWER_S = 10.0
"""How long a server may take to answer the call before and after a test."""

TRITON, GATEWAY = "Triton", "gateway"


@dataclass(frozen=True, slots=True)
class Targets:
    """The servers under test.

    Attributes:
        client: settings of the SDK, with Triton's address.
        settings: the gateway's address, and where the metrics are.
    """

    client: ClientSettings
    settings: LoadTestSettings

    @property
    def environment(self) -> dict[str, str]:
        """The same for Locust's processes, whatever was given on the command line."""
        return {"MIEN_ENDPOINTS": ",".join(self.client.endpoints), "MIEN_LOADTEST_GATEWAY": self.settings.gateway}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a load test ended.

    Attributes:
        summary: its figures.
        scrapes: of the servers' metrics, by name of the server.
        interrupted: whether a Ctrl-C ended it early.
        lost: which server did not answer any more at the end, as a sentence; empty if all did.
    """

    summary: Summary
    scrapes: dict[str, list[Scrape]]
    interrupted: bool
    lost: str


def run(
    plan: LoadPlan,
    targets: Targets,
    *,
    distribution: Distribution | None = None,
    on_progress: Callable[[int, int], None] = lambda _answered, _failed: None,
) -> Outcome:
    """Run a load test.

    Raises:
        InferenceError: a server does not answer before the test.
        DetectorError: the face detector cannot be loaded.
        LoadTestError: Locust could not do it.
    """
    check_servers(plan, targets)
    pages = {TRITON: targets.settings.metrics}
    if "rest" in plan.users:
        pages[GATEWAY] = f"{targets.settings.gateway}/metrics"
    watch = MetricsWatch(pages, {GATEWAY: targets.settings.gateway_headers})
    with watch:
        record, interrupted = generate(
            plan, distribution=distribution, environment=targets.environment, on_progress=on_progress
        )
    summary = summarize(record, plan, _server_side(watch.scrapes))
    lost = ""
    try:
        check_servers(plan, targets)
    except InferenceError as error:
        lost = f"The last good answer came {summary.last_answer_s:.1f} s after the start; afterwards: {error}"
    return Outcome(summary, watch.scrapes, interrupted, lost)


def check_servers(plan: LoadPlan, targets: Targets) -> None:
    """Have every server that the plan needs answer once.

    Raises:
        InferenceError: one does not; the text says which.
        DetectorError: the face detector cannot be loaded.
    """
    with EmotionClient(targets.client.model_copy(update={"retry_attempts": 1})) as client:
        if {"grpc", "pipeline"} & plan.users.keys():
            client.classify(made_faces(1), deadline_s=ANSWER_S)
        if "speech" in plan.users:
            client.classify_speech(made_windows(1), deadline_s=ANSWER_S)
    if "pipeline" in plan.users:
        load_detector(targets.client)  # here, so that several processes do not fetch it at once
    if "rest" in plan.users:
        _check_gateway(targets.settings.gateway)


def _check_gateway(url: str) -> None:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=ANSWER_S):  # noqa: S310 - http(s), by the settings
            return
    except urllib.error.HTTPError as error:
        with suppress(OSError):
            error.close()
        reason = f"it answers {error.code} to /ready"
    except OSError as error:
        reason = str(getattr(error, "reason", error))
    raise ServerUnavailableError(
        f"No gateway is ready at {url}: {reason}. Start one with `make serve`, or say where it is: --gateway."
    )


def _server_side(scrapes: dict[str, list[Scrape]]) -> ServerSide:
    triton: Sequence[Scrape] = scrapes[TRITON]
    return ServerSide(model_loads(grown(triton)), gateway_load(grown(scrapes.get(GATEWAY, ()))), mean_gauges(triton))
