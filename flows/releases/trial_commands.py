"""``python -m flows.release trial``, and what `promote --after-trial` asks of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from flows.errors import FlowError
from flows.releases.arguments import DEFAULT_ENSEMBLE, Ensemble
from flows.releases.trial import TrialReport, read_trial_settings, report_on
from flows.running_server import working_copy
from flows.traffic.pages import read_traffic_settings
from mien.contract import ensemble_named
from serving import read_settings
from serving.advice import release_command
from serving.promotion import candidate_release


class Shape(StrEnum):
    """What a report is printed as."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def trial(
    number: Annotated[
        int | None, typer.Argument(min=1, metavar="[N]", help="The release on trial; by default the candidate.")
    ] = None,
    shape: Annotated[Shape, typer.Option("--as", help="What to print.")] = Shape.TABLE,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Show what the trial of a candidate on live traffic has shown so far.

    The services send it calls (MIEN_SHADOW_SHARE) and count them; MIEN_TRAFFIC_URLS are their Prometheus pages. What it
    must show is set by MIEN_TRIAL_MIN_FACES, _MIN_AGREEMENT, _MAX_LATENCY_RATIO and _MAX_FAILED_SHARE.
    """
    report = trial_report(number, ensemble)
    if shape is Shape.TABLE:
        console = Console()
        for part in report.as_tables():
            console.print(part)
    else:
        typer.echo(report.as_json() if shape is Shape.JSON else report.as_markdown())


def trial_report(number: int | None = None, ensemble: str = DEFAULT_ENSEMBLE) -> TrialReport:
    """The report on release `number`, or on the candidate, beside the release that is served.

    Raises:
        FlowError: there is no candidate, or no figures of its traffic can be read.
    """
    whose = ensemble_named(ensemble)
    repository = working_copy(read_settings())
    candidate = number or candidate_release(repository, whose)
    if candidate is None:
        raise FlowError(f"There is no candidate. Offer one: {release_command('candidate N', whose)}")
    serving = repository.pointer(whose).release
    return report_on(whose, candidate, serving, read_traffic_settings(), read_trial_settings())
