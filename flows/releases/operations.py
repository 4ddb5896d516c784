"""The commands of `flows.release` as Prefect flows: to release from Prefect's page, by its API or an automation.

`ensemble` is the name of that whose releases are meant.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Prefect reads the annotations at run time

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.releases.arguments import DEFAULT_ENSEMBLE
from flows.releases.trial import require_passed
from flows.releases.trial_commands import trial_report
from flows.running_server import promoter_of, working_copy
from mien.contract import ensemble_named
from serving import publish as publish_export
from serving import read_settings
from serving.pruning import FLOOR
from serving.pruning import prune as prune_releases

__all__ = ["candidate", "promote", "prune", "publish", "rollback", "trial", "withdraw"]


@flow
def publish(export: Path, ensemble: str = DEFAULT_ENSEMBLE) -> int:
    """Put an exported release into the server's repository; returns its number. What is served stays."""
    published = publish_export(export, working_copy(read_settings()), ensemble_named(ensemble))
    get_run_logger().info("release %d", published.manifest.release)
    return published.manifest.release


@flow
def promote(release: int, reason: str = "", *, after_trial: bool = False, ensemble: str = DEFAULT_ENSEMBLE) -> None:
    """Serve a release from now on; if anything is wrong with it, what is served stays.

    Args:
        release: its number.
        reason: why; kept in the history.
        after_trial: only if it has passed its trial on live traffic.
        ensemble: whose release it is.
    """
    if after_trial:
        require_passed(trial_report(release, ensemble))
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        swap_s = promoter.promote(release, reason=reason).swap_s
    get_run_logger().info("release %d is served; that took %.2g s", release, swap_s)


@flow
def rollback(to: int | None = None, reason: str = "", ensemble: str = DEFAULT_ENSEMBLE) -> int:
    """Serve the release before the present one, or the one named; returns its number."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        entry = promoter.rollback(to=to, reason=reason).entry
    get_run_logger().info("release %d is served, %d was before", entry.release, entry.previous)
    return entry.release


@flow
def candidate(release: int, ensemble: str = DEFAULT_ENSEMBLE) -> str:
    """Serve a release beside the present one; returns the name of the model that it answers as."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        return promoter.offer(release)


@flow
def trial(release: int | None = None, ensemble: str = DEFAULT_ENSEMBLE) -> str:
    """Report on a release's trial on live traffic, by default the candidate's; returns the report in Markdown."""
    report = trial_report(release, ensemble).as_markdown()
    create_markdown_artifact(report, key="trial", description="The trial on live traffic")
    return report


@flow
def withdraw(ensemble: str = DEFAULT_ENSEMBLE) -> None:
    """Stop serving the candidate."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        promoter.withdraw()


@flow
def prune(keep: int = 5, ensemble: str = DEFAULT_ENSEMBLE) -> list[int]:
    """Remove old releases; returns their numbers."""
    return prune_releases(working_copy(read_settings()), ensemble_named(ensemble), keep=max(keep, FLOOR))
