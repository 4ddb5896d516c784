"""``python -m flows.release``: the releases of the local server, and which of them it serves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows import command_line
from flows.releases import store_commands, trial_commands
from flows.releases.arguments import DEFAULT_ENSEMBLE, Ensemble, Number, Reason
from flows.releases.trial import require_passed
from flows.running_server import promoter_of, working_copy
from mien.contract import ensemble_named
from serving import Ledger, ModelRepository, publish, read_settings
from serving.advice import release_command
from serving.promotion import candidate_release
from serving.pruning import FLOOR, prune

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.contract import EnsembleSpec
    from serving import Manifest, Promotion
    from serving.store import ReleaseStore

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_SHOWN_METRICS = {"validation_accuracy": "acc.", "validation_macro_f1": "macro-F1", "validation_ece": "ECE"}


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release, and what it is there: ``serving``, ``previous``, ``candidate``, ``current`` or nothing of these."""

    manifest: Manifest
    role: str


@app.callback()
def release() -> None:
    """Releases of an ensemble, by default `emotion`: list them, put one in, serve another, go back.

    Each ensemble has releases and a history of its own; what is done with one leaves the others as they are.

    The state folder is MIEN_STATE (.mien); serving another release needs its server running, `make serve`.
    """


@app.command("list")
def list_releases(
    *,
    history: Annotated[bool, typer.Option("--history", help="What was served when.")] = False,
    store: Annotated[bool, typer.Option("--store", help="Those in the store instead.")] = False,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Show the releases that can be served."""
    console, whose = Console(), ensemble_named(ensemble)
    if store:
        console.print(_release_table(stored_releases(store_commands.shared_store(whose))))
        return
    repository = _repository()
    if history:
        console.print(_history_table(repository, whose))
        return
    console.print(_release_table(releases(repository, whose)))


@app.command()
def verify(
    number: Annotated[int | None, typer.Argument(metavar="[N]", help="By default all.")] = None,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Hold the files of a release against its manifest."""
    repository, whose = _repository(), ensemble_named(ensemble)
    for one in [number] if number else repository.releases(whose):
        manifest = repository.verify_release(whose, one)
        typer.echo(f"release {one}: {len(manifest.files)} files match")


@app.command("publish")
def publish_export(
    export: Annotated[Path, typer.Argument(help="Folder of `python -m training export --repository FOLDER`.")],
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Put an exported release into the server's repository; what is served stays."""
    whose = ensemble_named(ensemble)
    published = publish(export, _repository(), whose)
    number = published.manifest.release
    typer.echo(
        f"Published as release {number}. Serve it: {release_command(f'promote {number}', whose)}"
        if published.is_new
        else f"These files are release {number} already."
    )


@app.command()
def promote(
    number: Number,
    reason: Reason = "",
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
    *,
    after_trial: Annotated[
        bool, typer.Option("--after-trial", help="Only if release N has passed its trial on live traffic.")
    ] = False,
) -> None:
    """Serve release N from now on; if anything is wrong with it, what is served stays."""
    if after_trial:
        require_passed(trial_commands.trial_report(number, ensemble))
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        _tell(promoter.promote(number, reason=reason))


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option(min=1, help="Release to go back to; by default the one before.")] = None,
    reason: Reason = "",
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Serve the release before the present one."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        _tell(promoter.rollback(to=to, reason=reason))


@app.command()
def candidate(number: Number, ensemble: Ensemble = DEFAULT_ENSEMBLE) -> None:
    """Serve release N beside the present one, as a model of its own, such as `emotion_candidate`."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        name = promoter.offer(number)
    typer.echo(
        f"Release {number} answers as the model {name}; MIEN_SHADOW_SHARE=0.1 shows it a tenth of a service's calls."
    )


@app.command()
def withdraw(ensemble: Ensemble = DEFAULT_ENSEMBLE) -> None:
    """Stop serving the candidate."""
    with promoter_of(read_settings(), ensemble_named(ensemble)) as promoter:
        promoter.withdraw()
    typer.echo("There is no candidate now.")


@app.command("prune")
def prune_releases(
    keep: Annotated[int, typer.Option(min=FLOOR, help="How many of the newest stay, besides those in use.")] = 5,
    ensemble: Ensemble = DEFAULT_ENSEMBLE,
) -> None:
    """Remove old releases."""
    removed = prune(_repository(), ensemble_named(ensemble), keep=keep)
    typer.echo(f"Removed: {', '.join(map(str, removed))}." if removed else "Nothing to remove.")


for command in (trial_commands.trial, store_commands.push, store_commands.pull, store_commands.sync):
    app.command()(command)


def releases(repository: ModelRepository, ensemble: EnsembleSpec) -> list[ListedRelease]:
    """Every release of `ensemble` in `repository`, oldest first.

    Raises:
        RepositoryError: the repository or a manifest cannot be read.
    """
    serving = repository.pointer(ensemble).release
    roles = {
        Ledger(repository.path).predecessor(ensemble.name, serving): "previous",
        candidate_release(repository, ensemble): "candidate",
        serving: "serving",
    }
    return [
        ListedRelease(repository.manifest(ensemble, number), roles.get(number, ""))
        for number in repository.releases(ensemble)
    ]


def stored_releases(store: ReleaseStore) -> list[ListedRelease]:
    """Every release in `store`, oldest first; the one to be served has the role ``current``.

    Raises:
        StoreError: the store cannot be read.
    """
    current = store.current()
    roles = {current.release: "current"} if current else {}
    return [ListedRelease(store.manifest(number), roles.get(number, "")) for number in store.releases()]


def _repository() -> ModelRepository:
    return working_copy(read_settings())


def _release_table(rows: Iterable[ListedRelease]) -> Table:
    table = _table("release", "role", "made", *_SHOWN_METRICS.values(), "network", "trained on")
    for listed in rows:
        manifest = listed.manifest
        metrics = [manifest.metrics.get(name) for name in _SHOWN_METRICS]
        table.add_row(
            str(manifest.release),
            listed.role,
            f"{manifest.created_at:%Y-%m-%d %H:%M}",
            *("-" if value is None else f"{value:.4f}" for value in metrics),
            str(manifest.provenance.get("network", "-")),
            manifest.dataset.name,
        )
    return table


def _history_table(repository: ModelRepository, ensemble: EnsembleSpec) -> Table:
    table = _table("at (UTC)", "action", "release", "before", "by", "reason")
    for entry in Ledger(repository.path).history(ensemble.name):
        when = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(when, entry.action, str(entry.release), str(entry.previous), entry.by, entry.reason)
    return table


def _table(*columns: str) -> Table:
    """Narrow enough for a terminal of 80 columns."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")


def _tell(promotion: Promotion) -> None:
    entry = promotion.entry
    back = f" Back: {release_command('rollback', ensemble_named(entry.ensemble))}" if entry.action == "promote" else ""
    typer.echo(
        f"Release {entry.release} is served, {entry.previous} was before; that took {promotion.swap_s:.2g} s.{back}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
