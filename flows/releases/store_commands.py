"""Commands of ``python -m flows.release`` for the store that hosts share releases through."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from flows.errors import FlowError
from flows.releases.arguments import DEFAULT_ENSEMBLE, Ensemble, Number
from flows.running_server import promoter_of, working_copy
from mien.contract import EnsembleSpec, ensemble_named
from serving import read_settings
from serving.advice import release_command
from serving.checkout import check_out
from serving.store import ReleaseStore, open_store

CHANGED = 10
"""Exit code of ``sync --detailed-exit-code`` when something changed; an error has another."""


def shared_store(ensemble: EnsembleSpec) -> ReleaseStore:
    """What the store that the environment names has of an ensemble.

    Raises:
        StoreError: it names none, or one that cannot be used.
    """
    return open_store(read_settings().release_store, ensemble)


def push(
    number: Number,
    stored_as: Annotated[
        int | None, typer.Option("--as", min=1, help="Its number in the store, if not the same.")
    ] = None,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
    *,
    current: Annotated[bool, typer.Option("--current", help="It is the one to be served from now on.")] = False,
) -> None:
    """Put release N into the store."""
    store = shared_store(ensemble_named(ensemble))
    # What is replaced is what was current when this began; whoever changes it meanwhile is not written over.
    before = store.current() if current else None
    stored = stored_as or number
    is_new = store.push(working_copy(read_settings()), number, number=stored)
    typer.echo(f"Release {stored} {'is' if is_new else 'was'} in {store.url}{'' if is_new else ' already'}.")
    if current and before and before.release == stored:
        typer.echo(f"Release {stored} is current already.")
    elif current:
        store.set_current(stored, expected=before.release if before else None)
        typer.echo(f"Release {stored} is current, {before.release if before else 'none'} was before.")


def pull(
    number: Annotated[int | None, typer.Argument(min=1, metavar="[N]", help="By default the current one.")] = None,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Put release N of the store into the server's repository; what is served stays."""
    store = shared_store(ensemble_named(ensemble))
    number = number or store.resolve("current")
    is_new = store.pull(number, working_copy(read_settings())).is_new
    typer.echo(
        f"Release {number} is here. Serve it: {release_command(f'promote {number}', store.ensemble)}"
        if is_new
        else f"Release {number} was here already."
    )


def sync(
    into: Annotated[
        Path | None,
        typer.Option(help="Make this folder hold that release alone, pinned, for a server that loads all it finds."),
    ] = None,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
    *,
    promote: Annotated[bool, typer.Option("--promote", help="Serve it, too.")] = False,
    detailed_exit_code: Annotated[
        bool, typer.Option("--detailed-exit-code", help=f"Exit with {CHANGED} if something changed.")
    ] = False,
) -> None:
    """Fetch the release that is current in the store, verified; in an init container or by a timer."""
    if into and promote:
        raise FlowError("--into fills a folder that no server of this machine serves, so --promote cannot go with it.")
    store = shared_store(ensemble_named(ensemble))
    number = store.resolve("current")
    changed = check_out({store: number}, into) if into else _fetch(store, number, promote=promote)
    typer.echo(f"Release {number} of {store.url}: {'done' if changed else 'nothing to do'}.")
    if changed and detailed_exit_code:
        raise typer.Exit(CHANGED)


def _fetch(store: ReleaseStore, number: int, *, promote: bool) -> bool:
    settings = read_settings()
    repository = working_copy(settings)
    is_new = store.pull(number, repository).is_new
    if not promote or repository.pointer(store.ensemble).release == number:
        return is_new
    with promoter_of(settings, store.ensemble) as promoter:
        promoter.promote(number, reason=f"current in {store.url}")
    return True
