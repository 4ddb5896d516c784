"""Ports of this machine's loopback address: whether one is free, and who holds it if not."""

from __future__ import annotations

import socket

import psutil

from serving.errors import PortTakenError
from serving.settings import LOOPBACK


def take_port(port: int, variable: str) -> int:
    """The port if it is free, or for 0 one that is.

    Args:
        port: to listen on.
        variable: the environment variable that sets it, for the error.

    Raises:
        PortTakenError: another process listens on it, or this user may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError as error:
            raise PortTakenError(
                f"Port {port} needs more rights than yours. Set {variable} to one above 1023."
            ) from error
        except OSError as error:
            raise PortTakenError(
                f"Port {port} is taken{_holder(port)}. Stop what holds it, or set {variable} to another port (0 takes a"
                " free one)."
            ) from error
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    """Who listens on the port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
