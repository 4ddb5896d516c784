"""`python -m serving.sync`: fill a folder with releases of the store, for a server that loads all it finds there.

What an init container runs before Triton in control mode `none`. It needs the SDK and the dependency groups `serving`
and `store`, neither Prefect nor TensorFlow. The server that starts after it finds one verified release of each
ensemble, or none.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mien.contract import ENSEMBLES
from mien.errors import MienError, SettingsError
from serving.checkout import check_out
from serving.settings import ServingSettings, read_settings, release_variable
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
    """Have the model repository hold the releases that the settings name, one of each ensemble, and nothing else.

    Args:
        settings: name the store, the ensembles, their releases and the folder.
        twins: with the models in another format, for a server that has their backend.

    Returns:
        a sentence for the log.

    Raises:
        SettingsError: the folder is left to its default, which a local server works on.
        StoreError: a release cannot be had whole; the folder is as it was.
        RepositoryError: a release keeps a contract that this version of Mien does not know.
        PublishError: the folder cannot be written, or its disk is full.
    """
    if "model_repository" not in settings.model_fields_set:
        raise SettingsError("Set MIEN_MODEL_REPOSITORY to the folder that the server will load: it is emptied first.")
    stores = [open_store(settings.release_store, ensemble) for ensemble in settings.ensembles]
    releases = {store: store.resolve(settings.release_of(store.ensemble)) for store in stores}
    is_new = check_out(releases, settings.model_repository, twins=twins)
    named = ", ".join(f"{store.ensemble.name} release {release}" for store, release in releases.items())
    models = ", ".join(sorted(path.name for path in settings.model_repository.iterdir()))
    return f"{'Now' if is_new else 'Already'} in {settings.model_repository}, of {stores[0].url}: {named} ({models})."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.sync",
        description="Fetch a release of each ensemble from the store into a folder, verified, for a server that loads"
        " all it finds.",
        epilog="Settings come from the environment: MIEN_RELEASE_STORE (a folder or s3://BUCKET/PREFIX), MIEN_ENSEMBLES"
        f" (by default all), {', '.join(map(release_variable, ENSEMBLES))} (a number, or `current`, which is the"
        " default) and MIEN_MODEL_REPOSITORY, the folder.",
    )
    parser.add_argument(
        "--twins",
        action="store_true",
        help="with the SavedModel twins; NVIDIA's image lacks the backend that they need",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
