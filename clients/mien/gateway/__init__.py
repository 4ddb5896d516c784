"""The REST gateway: pictures and videos over HTTP, answered by way of the SDK. Needs the extra `gateway`."""

from mien.gateway.app import create_app
from mien.gateway.settings import GatewaySettings

__all__ = ["GatewaySettings", "create_app"]
