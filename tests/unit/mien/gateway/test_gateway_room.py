from __future__ import annotations

import asyncio
import io

import pytest

from mien.gateway import room as rooms
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.room import Room
from mien.gateway.uploads import read_form
from tests.unit.mien.gateway.test_gateway_uploads import HEAD, request_of

GRACE_S = 0.1
PAUSE_S = 0.01


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "GRACE_S", GRACE_S)


def test_a_room_is_left_however_it_ends() -> None:
    room = Room(1)
    with room.taken(), pytest.raises(RequestRefusedError, match="too much to do"), room.taken():
        pass
    with pytest.raises(ZeroDivisionError), room.taken():
        raise ZeroDivisionError
    with room.taken():
        pass


async def upload(room: Room, piece: bytes) -> None:
    """Take a place, and hand in a body piece by piece that does not end."""
    request = request_of([HEAD, *[piece] * 100_000], pause_s=PAUSE_S)
    with room.taken() as place, io.BytesIO() as file:
        await read_form(request, "image", file, max_bytes=2**30, timeout_s=30, place=place)


async def test_of_slow_bodies_the_slowest_gives_way_to_whoever_comes() -> None:
    room = Room(2)
    async with asyncio.TaskGroup() as uploads:
        slow = uploads.create_task(given_up(room, b"x" * 20))
        slowest = uploads.create_task(given_up(room, b"x"))
        await asyncio.sleep(2 * GRACE_S)
        with room.taken():
            refusal = await slowest
            assert not slow.done()
            with room.taken():
                await slow
            assert refusal.status == 503
            assert refusal.headers == {"Retry-After": "1", "Connection": "close"}
            assert "too much to do" in str(refusal)
        with room.taken(), room.taken(), pytest.raises(RequestRefusedError), room.taken():
            pass


async def given_up(room: Room, piece: bytes) -> RequestRefusedError:
    """An upload that must lose its place."""
    with pytest.raises(RequestRefusedError) as caught:
        await upload(room, piece)
    return caught.value


@pytest.mark.parametrize(("size", "seconds"), [(1, 0.0), (20_000, 2 * GRACE_S)], ids=["just begun", "fast"])
async def test_other_bodies_keep_their_place(size: int, seconds: float) -> None:
    room = Room(1)
    task = asyncio.create_task(upload(room, b"x" * size))
    await asyncio.sleep(seconds)
    with pytest.raises(RequestRefusedError, match="too much to do"), room.taken():
        pass
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
