"""What in a model's configuration would have the server run code that is no model: refused, wherever it came from.

The manifest covers a release's files, not the configurations, which differ from host to host (`make tune` writes some).
They come along with a release all the same when a repository does not have the model yet, and to Triton they are more
than numbers: a backend is a library or a Python module, custom operators are a library, and an execution environment is
an archive with a Python in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.contract import VARIANTS
from serving.configuration import CONFIG_NAME, CONFIG_SETS, read_config
from serving.errors import RepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tritonclient.grpc.model_config_pb2 import ModelConfig

ENSEMBLE = "ensemble"
BACKENDS = {model.name: model.backend for variant in VARIANTS for model in (*variant.members, *variant.twins)} | {
    variant.name: ENSEMBLE for variant in VARIANTS
}
"""What runs each model of the contract."""

_ENVIRONMENT = "EXECUTION_ENV_PATH"


def check_configs(model: Path) -> None:
    """Hold every configuration in the folder of a model against what the contract has it run.

    Args:
        model: the folder, called like the model.

    Raises:
        RepositoryError: one names other code, or cannot be read.
    """
    for path in [model / CONFIG_NAME, *sorted((model / CONFIG_SETS).glob("*.pbtxt"))]:
        for what in _foreign_code(read_config(path), model.name):
            raise RepositoryError(
                f"{path} would have the server run {what}, which is none of Mien's backends. Take it out, or fetch the"
                " release again from whom you trust."
            )


def _foreign_code(config: ModelConfig, model: str) -> Iterator[str]:
    wanted = BACKENDS.get(model)
    backend = ENSEMBLE if config.HasField("ensemble_scheduling") else config.backend or config.platform
    if backend != wanted:
        yield f"{model} with the backend {backend or '(none)'!r}"
    if config.runtime:
        yield f"the runtime {config.runtime!r}"
    if config.model_operations.op_library_filename:
        yield f"the operators of {config.model_operations.op_library_filename[0]!r}"
    if _ENVIRONMENT in config.parameters:
        yield f"the Python of {config.parameters[_ENVIRONMENT].string_value!r}"
    names = [config.default_model_filename, *config.cc_model_filenames.values()]
    if outside := [name for name in names if "/" in name or name == ".."]:
        yield f"the file {outside[0]!r}"
