"""The local server in the foreground, until somebody stops it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from serving.server import TritonServer
from serving.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.settings import ServingSettings


def serve(settings: ServingSettings, beside: Callable[[TritonServer], None] = lambda _: None) -> None:
    """Run the server until SIGINT or SIGTERM, and heal it when something in it dies.

    Args:
        settings: of the server.
        beside: called once when the server answers and its summary has been printed.

    Raises:
        ServingError: the server does not start, or fails again and again.
    """
    # Explicitly: a shell that starts it in the background has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with TritonServer(settings) as server:
            _print_summary(server)
            beside(server)
            try:
                # Inside already: whoever reads the line may be faster than the next one of this function.
                print("Ctrl-C stops it.", flush=True)
                Watcher(server).run(threading.Event())
            except KeyboardInterrupt:
                print("Stopping: requests in flight may finish.", flush=True)
    except KeyboardInterrupt:
        print("Interrupted.", flush=True)
    else:
        print("Stopped.", flush=True)


def _print_summary(server: TritonServer) -> None:
    with server.control() as control:
        models = ", ".join(f"{model.name} {model.version}" for model in control.models() if model.ready)
    releases = ", ".join(f"{name} release {manifest.release}" for name, manifest in server.releases.items())
    print(
        f"Serving {releases}.\n"
        f"  gRPC      {server.endpoint}\n"
        f"  metrics   {server.metrics_url}\n"
        f"  models    {models}\n"
        f"  log       {server.log_path}",
        flush=True,
    )
