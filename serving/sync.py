"""`python -m serving.sync`: fill a folder with one release of the store, for a server that loads all it finds there.

What an init container runs before Triton in control mode `none`. It needs the SDK and the dependency groups `serving`
and `store`, neither Prefect nor TensorFlow. The server that starts after it finds one verified release or none.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mien.contract import EMOTION
from mien.errors import MienError, SettingsError
from serving.settings import ServingSettings, read_settings
from serving.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        print(sync(read_settings(), twins=options.twins))
    except MienError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def sync(settings: ServingSettings, *, twins: bool = False) -> str:
    """Have the model repository hold the release that the settings name, and nothing else.

    Args:
        settings: name the store, the release and the folder.
        twins: with the models in another format, for a server that has their backend.

    Returns:
        a sentence for the log.

    Raises:
        SettingsError: the folder is left to its default, which a local server works on.
        StoreError: the release cannot be had whole; the folder is as it was.
        RepositoryError: the release keeps a contract that this version of Mien does not know.
        PublishError: the folder cannot be written, or its disk is full.
    """
    if "model_repository" not in settings.model_fields_set:
        raise SettingsError("Set MIEN_MODEL_REPOSITORY to the folder that the server will load: it is emptied first.")
    store = open_store(settings.release_store, EMOTION)
    release = store.resolve(settings.release)
    is_new = store.check_out(release, settings.model_repository, twins=twins)
    models = ", ".join(sorted(path.name for path in settings.model_repository.iterdir()))
    return (
        f"Release {release} of {store.url} is {'' if is_new else 'already '}in {settings.model_repository}: {models}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.sync",
        description="Fetch one release from the store into a folder, verified, for a server that loads all it finds.",
        epilog="Settings come from the environment: MIEN_RELEASE_STORE (a folder or s3://BUCKET/PREFIX), MIEN_RELEASE"
        " (a number, or `current`, which is the default) and MIEN_MODEL_REPOSITORY, the folder.",
    )
    parser.add_argument(
        "--twins",
        action="store_true",
        help="with the SavedModel twins; NVIDIA's image lacks the backend that they need",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
