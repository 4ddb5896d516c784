"""Errors of running a server.

::

    MienError
    └── ServingError             running a server
        ├── EngineError          this machine cannot run the chosen engine
        ├── RepositoryError      the model repository is incomplete, damaged or contradicts its manifest
        ├── PublishError         a release could not be put into the repository
        ├── StoreError           the release store cannot be reached or used, or what it holds is damaged
        │   └── StoreConflictError   somebody else has changed there what was to be changed
        ├── PromotionError       a release could not be served; the one before still is
        ├── ServerStartError     the server did not start, or did not answer in the time given
        │   └── PortTakenError   another process listens on its port
        └── ControlError         the running server refused a call or did not answer it
"""

from __future__ import annotations

from mien.errors import MienError


class ServingError(MienError):
    """A server cannot be run or managed; the root of what this package raises."""

    exit_code = 6


class EngineError(ServingError):
    """This machine cannot run the chosen engine: platform, C library, environment or container tool."""


class RepositoryError(ServingError):
    """The model repository is incomplete, damaged, or contradicts its manifest."""


class PublishError(ServingError):
    """A release could not be put into the repository, which is as it was."""


class StoreError(ServingError):
    """The release store cannot be reached or used, or what it holds is damaged."""


class StoreConflictError(StoreError):
    """Somebody else has changed in the release store what was to be changed."""


class PromotionError(ServingError):
    """A release could not be served; the one before still is."""


class ServerStartError(ServingError):
    """The server did not start, or did not answer in the time given."""


class PortTakenError(ServerStartError):
    """Another process listens on a port that the server is to take."""


class ControlError(ServingError):
    """The running server refused a call or did not answer it."""
