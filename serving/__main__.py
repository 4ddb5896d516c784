"""`python -m serving`: the local server in the foreground, and commands for the one that runs."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from mien.errors import MienError
from mien.output import escape_what_cannot_be_encoded
from serving.control import ServerControl
from serving.errors import ServingError
from serving.foreground import serve
from serving.record import read_record
from serving.repository import ModelRepository
from serving.settings import ServingSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    escape_what_cannot_be_encoded()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings()
        if options.command == "verify":
            _verify(settings)
        elif options.command in ("load", "unload"):
            _control(settings, options.command, options.model)
        else:
            serve(settings)
    except MienError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Run the local Triton in the foreground until Ctrl-C, and heal it when something in it dies.",
        epilog="Settings come from the environment: MIEN_STATE, MIEN_ENGINE (wheel or docker), MIEN_GRPC_PORT,"
        " MIEN_METRICS_PORT, MIEN_MODEL_REPOSITORY and others; serving/settings.py lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands; without one, the server runs")
    commands.add_parser("verify", help="hold the files of the release against its manifest, without a server")
    for name, text in (
        ("load", "load a model that is not loaded at the start"),
        ("unload", "take a model out of service"),
    ):
        commands.add_parser(name, help=f"{text}, on the running server").add_argument("model", metavar="MODEL")
    return parser


def _verify(settings: ServingSettings) -> None:
    folder = settings.model_repository if settings.model_repository.exists() else settings.shipped_repository
    repository = ModelRepository(folder)
    for ensemble in settings.ensembles:
        manifest = repository.verify(ensemble)
        print(f"{ensemble.name} release {manifest.release}: {len(manifest.files)} files match, in {folder}")


def _control(settings: ServingSettings, command: str, model: str) -> None:
    record = read_record(settings.record_path)
    if record is None:
        raise ServingError(
            f"No server runs on the state folder {settings.state}. Start one with `python -m serving`, or set"
            " MIEN_STATE to the folder of the one you mean."
        )
    with ServerControl(record.endpoint, record.admin_key) as control:
        if command == "load":
            control.load(model)
        else:
            control.unload(model)
    print(f"{model}: {command}ed.")


if __name__ == "__main__":
    sys.exit(main())
