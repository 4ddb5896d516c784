"""What stands before a request's body is read: who calls, how often, and whether there is room."""

import ipaddress
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from mien.gateway.gateway import TheGateway
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.room import Place
from mien.gateway.settings import GatewaySettings

_bearer = HTTPBearer(auto_error=False, description="An API key, where the gateway asks for one.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same, in a header of its own.")


async def caller(
    request: HTTPConnection,
    gateway: TheGateway,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> str:
    """Who calls: the id of an API key, or an address.

    Raises:
        RequestRefusedError: a key is needed and none is given, or it is not right (401).
    """
    if not gateway.settings.needs_keys:
        return f"address:{_network(request)}"
    given = bearer.credentials if bearer else header or ""
    key = gateway.keys.find(given)
    if key is None:
        raise RequestRefusedError(
            HTTPStatus.UNAUTHORIZED,
            "This API key is not known." if given else "An API key is needed: Authorization: Bearer mien_…",
            {"WWW-Authenticate": "Bearer"},
        )
    request.state.key = key.id
    return f"key:{key.id}"


Caller = Annotated[str, Depends(caller)]


def rated(route: str, per_minute: Callable[[GatewaySettings], int]) -> Callable[..., object]:
    """A dependency that counts a request of `route` against its caller's rate."""

    async def take(gateway: TheGateway, who: Caller) -> None:
        await gateway.rates.take(route, who, per_minute(gateway.settings))

    return take


async def _room_for_picture(gateway: TheGateway) -> AsyncIterator[Place]:
    with gateway.picture_room.taken() as place:
        yield place


async def _room_for_recording(gateway: TheGateway) -> AsyncIterator[Place]:
    with gateway.recording_room.taken() as place:
        yield place


PicturePlace = Annotated[Place, Depends(_room_for_picture)]
RecordingPlace = Annotated[Place, Depends(_room_for_recording)]
"""Of a request among the pictures or the recordings in flight."""


def _network(request: HTTPConnection) -> str:
    """The caller's address; of IPv6 the /64, which one caller has all of."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
