"""Running a Triton server on one machine: its process, its repository, its health."""

from serving.control import ModelState, ServerControl
from serving.errors import (
    ControlError,
    EngineError,
    PortTakenError,
    PromotionError,
    PublishError,
    RepositoryError,
    ServerStartError,
    ServingError,
)
from serving.ledger import Entry, Ledger
from serving.manifest import Manifest
from serving.promotion import Promoter, Promotion
from serving.publishing import Publication, publish
from serving.repository import ModelRepository
from serving.server import TritonServer
from serving.settings import ServingSettings, read_settings
from serving.watcher import Watcher

__all__ = [
    "ControlError",
    "EngineError",
    "Entry",
    "Ledger",
    "Manifest",
    "ModelRepository",
    "ModelState",
    "PortTakenError",
    "Promoter",
    "Promotion",
    "PromotionError",
    "Publication",
    "PublishError",
    "RepositoryError",
    "ServerControl",
    "ServerStartError",
    "ServingError",
    "ServingSettings",
    "TritonServer",
    "Watcher",
    "publish",
    "read_settings",
]
