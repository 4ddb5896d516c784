"""Everything that lives as long as the application: client, workers, counters."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Self

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from mien.async_client import AsyncEmotionClient
from mien.contract import SPEECH_EMOTION
from mien.errors import SettingsError
from mien.gateway.cameras import Cameras
from mien.gateway.jobs import VideoJobs
from mien.gateway.keys import KeyFile
from mien.gateway.listening import Listener
from mien.gateway.measurements import GatewayMetrics
from mien.gateway.rates import Rates
from mien.gateway.recognition import Recognizer
from mien.gateway.room import Room
from mien.gateway.spool import spool
from mien.metrics import TrafficMetrics

if TYPE_CHECKING:
    from types import TracebackType

    from mien.gateway.settings import GatewaySettings
    from mien.settings import ClientSettings

READY_DEADLINE_S = 3.0
HEARS_DEADLINE_S = 0.5
"""Short: who asks whether faces are answered shall not wait for a model of speech that hangs."""

READY_FOR_S = 1.0
"""A readiness answer is given again this long: whoever asks in a loop does not load the model server."""


class Gateway:
    """What the routes work with.

    Args:
        settings: of the gateway.
        client_settings: which Triton to call and how to find faces.

    Raises:
        SettingsError: the settings do not fit together.
    """

    def __init__(self, settings: GatewaySettings, client_settings: ClientSettings) -> None:
        self.settings = settings
        self.keys = KeyFile(settings.keys_file)
        if settings.needs_keys and not self.keys.entries():
            raise SettingsError(
                f"On {settings.host} callers need API keys, and {settings.keys_file} has none. Make one with "
                "`python -m mien.gateway keys add NAME`, listen on 127.0.0.1, or set MIEN_GATEWAY_REQUIRE_KEYS=false."
            )
        self.rates = Rates(settings.limits_url)
        self.picture_room = Room(settings.max_in_flight)
        self.upload_room = Room(settings.max_video_uploads)
        self.recording_room = Room(settings.max_recordings)
        self.cameras = Cameras(settings)
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry)
        traffic = TrafficMetrics(self.registry)
        self._client = AsyncEmotionClient(
            client_settings,
            on_result=traffic.count_result,
            on_comparison=traffic.count_comparison,
            on_miss=traffic.count_miss,
        )
        self.recognizer = Recognizer(self._client, settings)
        self.listener = Listener(self._client, settings, self.metrics.recordings)
        self.jobs = VideoJobs(self.recognizer, self.listener, settings, self.metrics.videos)
        self.spool = settings.spool
        self._stack = AsyncExitStack()
        self._ready_lock = asyncio.Lock()
        self._ready_until = 0.0
        self._hears = False

    async def __aenter__(self) -> Self:
        """Start the workers.

        Raises:
            MienError: something cannot be started.
        """
        async with AsyncExitStack() as stack:
            self.spool = stack.enter_context(spool(self.settings.spool))
            await stack.enter_async_context(self._client)
            await stack.enter_async_context(self.recognizer)
            await stack.enter_async_context(self.jobs)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def hears(self) -> bool:
        """Whether an inference of speech succeeded, too, when `is_ready` last asked."""
        return self._hears

    async def is_ready(self) -> bool:
        """Whether a real inference of faces succeeds, or did a moment ago."""
        async with self._ready_lock:
            if time.monotonic() < self._ready_until:
                return True
            is_ready, self._hears = await asyncio.gather(
                self._client.is_ready(deadline_s=READY_DEADLINE_S),
                self._client.is_ready(ensemble=SPEECH_EMOTION, deadline_s=HEARS_DEADLINE_S),
            )
            self._ready_until = time.monotonic() + READY_FOR_S if is_ready else 0.0
            return is_ready


async def _of_request(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


TheGateway = Annotated[Gateway, Depends(_of_request)]
RequestId = Annotated[str, Depends(_request_id)]
