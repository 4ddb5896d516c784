"""What Locust loads: the users, the shape, and the options that the command line of `loadtest` gives it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import locust.runners
from locust import events

from loadtest.users import MienUser, PlannedShape, install, watch_lifeline
from mien.errors import MienError

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment

locust.runners.WORKER_REPORT_INTERVAL = 1.0


class GrpcUser(MienUser):
    """Sends prepared tensors."""

    kind = "grpc"


class PipelineUser(MienUser):
    """Sends photographs through the SDK."""

    kind = "pipeline"


class RestUser(MienUser):
    """Posts photographs to the gateway."""

    kind = "rest"


class SpeechUser(MienUser):
    """Sends prepared windows of speech."""

    kind = "speech"


class Shape(PlannedShape):
    """The plan's shape."""


def add_options(parser: LocustArgumentParser, **_: Any) -> None:  # noqa: ANN401 - Locust's own signature
    """Add Mien's options."""
    parser.add_argument("--plan", default="", help="the load test, as JSON", include_in_web_ui=False)
    parser.add_argument("--result", default="", help="file for the result", include_in_web_ui=False)


def set_up(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - Locust's own signature
    """Have the plan done."""
    try:
        install(environment)
    except (MienError, OSError) as error:
        sys.exit(f"Error: {error}")


watch_lifeline()
events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(set_up)
