"""Routes for whoever runs the gateway."""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from mien.gateway.gateway import TheGateway
from mien.gateway.guard import caller
from mien.gateway.refusals import RETRY_SOON, RequestRefusedError
from mien.gateway.schemas import HealthAnswer, ReadyAnswer

router = APIRouter(tags=["operation"])


@router.get("/health")
async def health() -> HealthAnswer:
    """Whether the gateway's process answers."""
    return HealthAnswer(status="ok")


@router.get("/ready")
async def ready(gateway: TheGateway) -> ReadyAnswer:
    """Whether an inference of faces by the model server succeeds now; and, as `speech`, whether one of speech does."""
    if not await gateway.is_ready():
        raise RequestRefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE, "The model server does not answer an inference.", RETRY_SOON
        )
    return ReadyAnswer(status="ready", speech=gateway.hears)


@router.get(
    "/metrics",
    dependencies=[Depends(caller)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(gateway: TheGateway) -> Response:
    """Figures of the traffic, for Prometheus."""
    return Response(generate_latest(gateway.registry), media_type=CONTENT_TYPE_LATEST)
