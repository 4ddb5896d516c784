"""Model configurations on disk: read, changed and replaced as a whole.

A model may have several: ``config.pbtxt`` and, for named config sets, ``configs/<name>.pbtxt``. What a release changes
is changed in each of them, or a server that runs with a named set would never load it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from serving.errors import RepositoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mien.contract import EnsembleSpec

CONFIG_NAME = "config.pbtxt"
CONFIG_SETS = "configs"

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def read_config(path: Path) -> ModelConfig:
    """The configuration in `path`.

    Raises:
        RepositoryError: it is missing or cannot be parsed.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except FileNotFoundError as error:
        raise RepositoryError(f"{path} is missing: {path.parents[1]} is not a model repository of Mien.") from error
    except text_format.ParseError as error:
        raise RepositoryError(f"{path} is not a model configuration: {error}") from error


def own_files(model: Path) -> list[Path]:
    """What a model's folder holds beside its versions, relative to it: configurations and labels."""
    files = [path.relative_to(model) for path in model.rglob("*") if path.is_file()]
    return sorted(path for path in files if not path.parts[0].isdecimal() and not path.name.startswith("."))


def change_configs(model: Path, change: Callable[[ModelConfig], None]) -> None:
    """Apply `change` to every configuration in the model's folder; one that it leaves alone is not written.

    Raises:
        RepositoryError: one is missing, cannot be parsed or cannot be written.
    """
    for path in [model / CONFIG_NAME, *sorted((model / CONFIG_SETS).glob("*.pbtxt"))]:
        before = read_config(path)
        after = ModelConfig()
        after.CopyFrom(before)
        change(after)
        if after != before:
            write_durably(path, text_format.MessageToString(after).encode())


def write_config_set(model: Path, name: str, change: Callable[[ModelConfig], None]) -> None:
    """Write ``configs/<name>.pbtxt`` of a model: its ``config.pbtxt`` with `change`.

    Raises:
        RepositoryError: the configuration is missing, cannot be parsed, or the new one cannot be written.
    """
    config = read_config(model / CONFIG_NAME)
    change(config)
    path = model / CONFIG_SETS / f"{name}.pbtxt"
    path.parent.mkdir(exist_ok=True)
    write_durably(path, text_format.MessageToString(config).encode())


def check_config_set(repository: Path, name: str) -> None:
    """Hold a config set's name against the models that have one.

    Raises:
        RepositoryError: no model has one of that name: each would silently be served with its own configuration.
    """
    if next(repository.glob(f"*/{CONFIG_SETS}/{name}.pbtxt"), None):
        return
    known = sorted({path.stem for path in repository.glob(f"*/{CONFIG_SETS}/*.pbtxt")})
    raise RepositoryError(
        f"No model in {repository} has a configuration of the set {name!r} (MIEN_CONFIG_SET); there are"
        f" {', '.join(known) or 'no sets'}. `make tune` writes one."
    )


def serve_versions(model: Path, versions: Iterable[int]) -> None:
    """Have a server load exactly these versions of a model, when it loads the model the next time."""
    wanted = sorted(set(versions))

    def change(config: ModelConfig) -> None:
        del config.version_policy.specific.versions[:]
        config.version_policy.specific.versions.extend(wanted)

    change_configs(model, change)


def pin(config: ModelConfig, ensemble: EnsembleSpec, release: int, versions: dict[str, int]) -> None:
    """Make `config` the ensemble's release pointer.

    Args:
        config: of the ensemble; its steps are written anew.
        ensemble: with the members that the release has, in the order of the steps.
        release: the ensemble's own version from now on.
        versions: of each member.
    """
    config.name = ensemble.name
    del config.version_policy.specific.versions[:]
    config.version_policy.specific.versions.append(release)
    del config.ensemble_scheduling.step[:]
    flowing = ensemble.input.name
    for member in ensemble.members:
        step = config.ensemble_scheduling.step.add(model_name=member.name, model_version=versions[member.name])
        step.input_map[member.input.name] = flowing
        # Tensors between the steps must not be called like the ensemble's own.
        flowing = ensemble.output.name if member is ensemble.members[-1] else member.output.name.lower()
        step.output_map[member.output.name] = flowing


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`: whole or not at all, also if the machine stops.

    Raises:
        RepositoryError: it cannot be written; what was there stays.
    """
    try:
        with replaced_durably(path) as file:
            file.write(content)
    except OSError as error:
        raise RepositoryError(f"{path} cannot be written: {error.strerror or error}. Nothing was changed.") from error


@contextlib.contextmanager
def replaced_durably(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` at the end of the block: whole or not at all, also if the machine stops."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the folder's entries on the disk, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
