"""The application: routes, what surrounds them, and what lives as long as it does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mien.gateway import camera, operations, page, pictures, recordings, refusals, tracing, videos
from mien.gateway.feedback import routes as feedback
from mien.gateway.feedback.desk import FeedbackDesk
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.gateway import Gateway
from mien.gateway.requests import VERSION_PREFIX, RequestScope
from mien.gateway.schemas import ErrorAnswer
from mien.gateway.settings import is_loopback
from mien.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi.routing import APIRoute

    from mien.gateway.settings import GatewaySettings

DESCRIPTION = """
Finds the faces in pictures and videos and names the emotion that each expression shows, as people label such pictures;
and the emotion that speech sounds like. An expression is not a feeling: do not use it to judge a person.
"""


def create_app(
    settings: GatewaySettings,
    client_settings: ClientSettings | None = None,
    feedback_settings: FeedbackSettings | None = None,
) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        settings: of the gateway.
        client_settings: which Triton to call and how to find faces; by default from the environment.
        feedback_settings: of the store of corrections; by default from the environment.

    Raises:
        SettingsError: the settings ask for keys and there are none, or do not make sense.
    """
    gateway = Gateway(settings, client_settings or ClientSettings())
    desk = FeedbackDesk(feedback_settings or FeedbackSettings(), is_private=is_loopback(settings.host))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with tracing.exporting():
            async with gateway, desk:
                yield

    app = FastAPI(
        title="Mien",
        version=version("mien"),
        description=DESCRIPTION,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        # FastAPI's own spans and logs would tell what a caller sent: paths as they were typed, what failed to validate.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        responses={status: {"model": ErrorAnswer} for status in ("4XX", "5XX")},
    )
    app.state.gateway = gateway
    app.state.feedback = desk
    refusals.install(app)
    for router in (pictures.router, videos.router):
        app.include_router(router, prefix=VERSION_PREFIX)
        app.include_router(router, tags=["without version"])
    app.include_router(recordings.router, prefix=VERSION_PREFIX)
    app.include_router(videos.jobs_router, prefix=VERSION_PREFIX)
    app.include_router(feedback.router, prefix=VERSION_PREFIX)
    app.include_router(camera.router, prefix=VERSION_PREFIX)
    app.include_router(operations.router)
    app.include_router(page.router)
    app.add_middleware(RequestScope, metrics=gateway.metrics, uses_tls=settings.uses_tls)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


def _operation_id(route: APIRoute) -> str:
    return f"{route.name}{route.path.replace('/', '_').replace('{', '').replace('}', '')}"
