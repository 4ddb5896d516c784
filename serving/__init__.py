"""Running a Triton server on one machine: its process, its repository, its health."""

from serving.control import ModelState, ServerControl
from serving.errors import (
    ControlError,
    EngineError,
    PortTakenError,
    RepositoryError,
    ServerStartError,
    ServingError,
)
from serving.manifest import Manifest
from serving.repository import ModelRepository
from serving.server import TritonServer
from serving.settings import ServingSettings, read_settings
from serving.watcher import Watcher

__all__ = [
    "ControlError",
    "EngineError",
    "Manifest",
    "ModelRepository",
    "ModelState",
    "PortTakenError",
    "RepositoryError",
    "ServerControl",
    "ServerStartError",
    "ServingError",
    "ServingSettings",
    "TritonServer",
    "Watcher",
    "read_settings",
]
