"""The command `python -m mien.gateway`: serve, until a signal says stop."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import uvicorn

from mien.errors import MienError
from mien.gateway import certificate, logs
from mien.gateway.app import create_app
from mien.gateway.connections import BoundedHttp
from mien.gateway.feedback import command as feedback
from mien.gateway.keys import KeyFile
from mien.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp

DRAIN_S = 30
"""After a signal to stop, requests in flight have this long."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    # OpenCV reads these when a worker imports it; its own lines would stand between ours.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        settings = GatewaySettings()
        if options.command == "keys":
            _change_keys(KeyFile(settings.keys_file), options)
        elif options.command == "feedback":
            feedback.run(options)
        else:
            _serve(settings)
    except MienError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mien.gateway",
        description="Answer pictures and videos over HTTP with the emotions of their faces, until Ctrl-C.",
        epilog="Settings come from the environment: MIEN_GATEWAY_HOST, MIEN_GATEWAY_PORT and others, which "
        "mien/gateway/settings.py lists; MIEN_ENDPOINTS says where Triton is.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands; without one, the gateway runs")
    keys = commands.add_parser("keys", help="API keys; a running gateway heeds a change at once")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("add", help="make a key and print it, this once").add_argument("name", metavar="NAME")
    actions.add_parser("list", help="list the keys by name; of the keys themselves only hashes are kept")
    actions.add_parser("remove", help="remove the keys of that name or id").add_argument("name", metavar="NAME")
    feedback.add_parser(commands)
    return parser


def _change_keys(file: KeyFile, options: argparse.Namespace) -> None:
    if options.action == "add":
        print(file.add(options.name))
    elif options.action == "remove":
        for key in file.remove(options.name):
            print(f"{key.id} {key.name}: removed.")
    else:
        for key in file.entries():
            print(f"{key.id}  {key.created:%Y-%m-%d %H:%M}  {key.name}")


def _serve(settings: GatewaySettings) -> None:
    app = create_app(settings)
    logs.configure(settings.log_format)
    certificate.check(settings.tls_certificate, settings.tls_key)
    server = uvicorn.Server(server_config(app, settings))
    server.run()


def server_config(app: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    """How uvicorn serves `app`."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        access_log=False,  # the application writes its own
        server_header=False,
        proxy_headers=False,  # the application knows which proxies to trust
        http=BoundedHttp,
        ws="websockets-sansio",
        ws_max_size=settings.max_camera_frame_bytes,
        ws_per_message_deflate=False,  # pictures are compressed
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_S,
    )
