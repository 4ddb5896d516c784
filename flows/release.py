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
from flows.releases.trial import require_passed
from flows.running_server import promoter_of, working_copy
from mien.contract import EMOTION
from serving import Ledger, ModelRepository, publish, read_settings
from serving.promotion import candidate_release
from serving.pruning import FLOOR, prune

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from serving import Manifest, Promotion
    from serving.store import ReleaseStore

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Number = Annotated[int, typer.Argument(min=1, metavar="N", help="The release's number.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]

_SHOWN_METRICS = {"validation_accuracy": "acc.", "validation_macro_f1": "macro-F1", "validation_ece": "ECE"}


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """A release, and what it is there: ``serving``, ``previous``, ``candidate``, ``current`` or nothing of these."""

    manifest: Manifest
    role: str


@app.callback()
def release() -> None:
    """Releases of the ensemble `emotion`: list them, put one in, serve another, go back.

    The state folder is MIEN_STATE (.mien); serving another release needs its server running, `make serve`.
    """


@app.command("list")
def list_releases(
    *,
    history: Annotated[bool, typer.Option("--history", help="What was served when.")] = False,
    store: Annotated[bool, typer.Option("--store", help="Those in the store instead.")] = False,
) -> None:
    """Show the releases that can be served."""
    console = Console()
    if store:
        console.print(_release_table(stored_releases(store_commands.shared_store())))
        return
    repository = _repository()
    if history:
        console.print(_history_table(repository))
        return
    console.print(_release_table(releases(repository)))


@app.command()
def verify(number: Annotated[int | None, typer.Argument(metavar="[N]", help="By default all.")] = None) -> None:
    """Hold the files of a release against its manifest."""
    repository = _repository()
    for one in [number] if number else repository.releases(EMOTION):
        manifest = repository.verify_release(EMOTION, one)
        typer.echo(f"release {one}: {len(manifest.files)} files match")


@app.command("publish")
def publish_export(
    export: Annotated[Path, typer.Argument(help="Folder of `python -m training export --repository FOLDER`.")],
) -> None:
    """Put an exported release into the server's repository; what is served stays."""
    published = publish(export, _repository(), EMOTION)
    number = published.manifest.release
    typer.echo(
        f"Published as release {number}. Serve it: python -m flows.release promote {number}"
        if published.is_new
        else f"These files are release {number} already."
    )


@app.command()
def promote(
    number: Number,
    reason: Reason = "",
    *,
    after_trial: Annotated[
        bool, typer.Option("--after-trial", help="Only if release N has passed its trial on live traffic.")
    ] = False,
) -> None:
    """Serve release N from now on; if anything is wrong with it, what is served stays."""
    if after_trial:
        require_passed(trial_commands.trial_report(number))
    with promoter_of(read_settings(), EMOTION) as promoter:
        _tell(promoter.promote(number, reason=reason))


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option(min=1, help="Release to go back to; by default the one before.")] = None,
    reason: Reason = "",
) -> None:
    """Serve the release before the present one."""
    with promoter_of(read_settings(), EMOTION) as promoter:
        _tell(promoter.rollback(to=to, reason=reason))


@app.command()
def candidate(number: Number) -> None:
    """Serve release N beside the present one, as the model `emotion_candidate`."""
    with promoter_of(read_settings(), EMOTION) as promoter:
        name = promoter.offer(number)
    typer.echo(
        f"Release {number} answers as the model {name}; MIEN_MODEL={name} asks it, MIEN_SHADOW_SHARE=0.1 shows it a"
        " tenth of a service's calls."
    )


@app.command()
def withdraw() -> None:
    """Stop serving the candidate."""
    with promoter_of(read_settings(), EMOTION) as promoter:
        promoter.withdraw()
    typer.echo("There is no candidate now.")


@app.command("prune")
def prune_releases(
    keep: Annotated[int, typer.Option(min=FLOOR, help="How many of the newest stay, besides those in use.")] = 5,
) -> None:
    """Remove old releases."""
    removed = prune(_repository(), EMOTION, keep=keep)
    typer.echo(f"Removed: {', '.join(map(str, removed))}." if removed else "Nothing to remove.")


for command in (trial_commands.trial, store_commands.push, store_commands.pull, store_commands.sync):
    app.command()(command)


def releases(repository: ModelRepository) -> list[ListedRelease]:
    """Every release in `repository`, oldest first.

    Raises:
        RepositoryError: the repository or a manifest cannot be read.
    """
    serving = repository.pointer(EMOTION).release
    roles = {
        Ledger(repository.path).predecessor(EMOTION.name, serving): "previous",
        candidate_release(repository, EMOTION): "candidate",
        serving: "serving",
    }
    return [
        ListedRelease(repository.manifest(EMOTION, number), roles.get(number, ""))
        for number in repository.releases(EMOTION)
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


def _history_table(repository: ModelRepository) -> Table:
    table = _table("at (UTC)", "action", "release", "before", "by", "reason")
    for entry in Ledger(repository.path).history(EMOTION.name):
        when = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(when, entry.action, str(entry.release), str(entry.previous), entry.by, entry.reason)
    return table


def _table(*columns: str) -> Table:
    """Narrow enough for a terminal of 80 columns."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")


def _tell(promotion: Promotion) -> None:
    entry = promotion.entry
    typer.echo(
        f"Release {entry.release} is served, {entry.previous} was before; that took"
        f" {promotion.swap_s:.2g} s." + (" Back: python -m flows.release rollback" if entry.action == "promote" else "")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return command_line.run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
