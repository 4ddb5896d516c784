"""The commands `python -m mien.gateway feedback …`: what was given is reviewed, erased and looked after."""

from __future__ import annotations

import getpass
import json
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mien.gateway.feedback.errors import FeedbackError
from mien.gateway.feedback.kinds import KINDS
from mien.gateway.feedback.schemas import CorrectionAnswer
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore
from mien.gateway.feedback.tables import ReviewState, State

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from mien.gateway.feedback.tables import Correction, Decision

_COLUMNS = ("id", "given", "state", "ensemble", "predicted", "corrected", "release", "contributor", "dataset")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `feedback` to those of the gateway."""
    feedback = commands.add_parser("feedback", help="review corrections, erase them, look after their store")
    actions = feedback.add_subparsers(dest="action", metavar="ACTION", required=True)
    shown = actions.add_parser("list", help="list the corrections, the oldest first")
    shown.add_argument(
        "--state",
        choices=get_args(ReviewState),
        type=State,
        metavar="STATE",
        help="only those: pending, accepted or rejected",
    )
    shown.add_argument("--contributor", metavar="NAME", help="only this one's")
    shown.add_argument("--json", action="store_true", help="one JSON object a line")
    one = actions.add_parser("show", help="show one correction")
    one.add_argument("id", metavar="ID")
    saved = one.add_mutually_exclusive_group()
    saved.add_argument("--save-picture", metavar="FILE", type=Path, help="write the face to a new PNG file")
    saved.add_argument("--save-recording", metavar="FILE", type=Path, help="write the speech to a new FLAC file")
    for name, text in (("accept", "let corrections be trained with"), ("reject", "keep corrections from training")):
        actions.add_parser(name, help=text).add_argument("ids", metavar="ID", nargs="+")
    erased = actions.add_parser("erase", help="erase corrections and their pictures, for good")
    erased.add_argument("ids", metavar="ID", nargs="*")
    erased.add_argument("--contributor", metavar="NAME", help="all that this one gave")
    actions.add_parser("purge", help="erase what is too old, and finish what was left half done")
    actions.add_parser("rotate-keys", help="encrypt all pictures anew, with a new key")
    logged = actions.add_parser("audit", help="who did what to which correction, and when")
    logged.add_argument("id", metavar="ID", nargs="?")


def run(options: argparse.Namespace) -> None:
    """Run one of them.

    Raises:
        MienError: what went wrong.
    """
    with closing(FeedbackStore(FeedbackSettings())) as store:
        _ACTIONS[options.action](store, options)


def _list(store: FeedbackStore, options: argparse.Namespace) -> None:
    found, _ = store.entries(options.state, options.contributor)
    if options.json:
        for correction in found:
            print(CorrectionAnswer.of(correction).model_dump_json())
    elif found:
        _print_table([_COLUMNS, *map(_row, found)])
    else:
        print("There is no such correction.")


def _show(store: FeedbackStore, options: argparse.Namespace) -> None:
    correction = store.find(options.id)
    fields = CorrectionAnswer.of(correction).model_dump(mode="json", exclude={"picture_url", "recording_url"})
    _print_table([(f"{name}:", str(value if value is not None else "-")) for name, value in fields.items()])
    print(f"terms:  {correction.terms}")
    for kind in KINDS.values():
        path: Path | None = getattr(options, f"save_{kind.name}")
        if path is None:
            continue
        if correction.ensemble != kind.ensemble.name:
            raise FeedbackError(f"{options.id} has no {kind.name}: use --save-{KINDS[correction.ensemble].name}.")
        _save(path, store.example(options.id, _operator()))
        print(f"The {kind.name} is in {path}: remove it when you have reviewed it.")


def _review(store: FeedbackStore, options: argparse.Namespace) -> None:
    decision: Decision = State.ACCEPTED if options.action == "accept" else State.REJECTED
    for identifier in options.ids:
        correction = store.review(identifier, decision, _operator())
        print(f"{identifier} {correction.state}: {correction.predicted} -> {correction.corrected}")


def _erase(store: FeedbackStore, options: argparse.Namespace) -> None:
    if bool(options.ids) == (options.contributor is not None):
        raise FeedbackError("Say what to erase: either ids, or --contributor NAME.")
    if options.contributor is not None:
        gone = store.erase_contributor(options.contributor, _operator())
        print("\n".join(f"{identifier} erased" for identifier in gone))
    for identifier in options.ids:
        store.erase(identifier, _operator())
        print(f"{identifier} erased")


def _purge(store: FeedbackStore, _options: argparse.Namespace) -> None:
    purged = store.purge()
    print(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in asdict(purged).items()))
    if purged.failed:
        raise FeedbackError(f"{purged.failed} could not be erased; the lines above say why. Purge again.")


def _rotate_keys(store: FeedbackStore, _options: argparse.Namespace) -> None:
    print(f"{store.rotate_keys()} pictures are encrypted with the first key.")


def _audit(store: FeedbackStore, options: argparse.Namespace) -> None:
    for entry in store.audit(options.id):
        fields = {"time": entry.time.isoformat(), "actor": entry.actor, "action": entry.action}
        print(json.dumps(fields | {"correction": entry.correction}))


_ACTIONS: dict[str, Callable[[FeedbackStore, argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "accept": _review,
    "reject": _review,
    "erase": _erase,
    "purge": _purge,
    "rotate-keys": _rotate_keys,
    "audit": _audit,
}


def _operator() -> str:
    return f"operator:{getpass.getuser()}"


def _row(correction: Correction) -> tuple[str, ...]:
    given = f"{correction.created:%Y-%m-%d %H:%M}"
    labels = (
        correction.state.value,
        correction.ensemble,
        correction.predicted,
        correction.corrected,
        correction.release,
    )
    return correction.id, given, *labels, correction.contributor or "-", correction.collected or "-"


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _save(path: Path, picture: bytes) -> None:
    try:
        # For its owner only; never over another file.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(picture)
    except OSError as error:
        raise FeedbackError(f"{path} cannot be written: {error.strerror}.") from error
