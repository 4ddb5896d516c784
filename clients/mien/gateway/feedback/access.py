"""Who may do what with feedback: contributors with their token, reviewers with their key."""

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Path, Request

from mien.gateway.feedback.desk import FeedbackDesk
from mien.gateway.gateway import Gateway, TheGateway
from mien.gateway.guard import Caller
from mien.gateway.refusals import RequestRefusedError
from mien.gateway.settings import is_loopback

ID_PATTERN = "^[0-9a-f]{32}$"


async def _of_request(request: Request) -> FeedbackDesk:
    desk: FeedbackDesk = request.app.state.feedback
    return desk


TheDesk = Annotated[FeedbackDesk, Depends(_of_request)]


async def _known_form(feedback_id: Annotated[str, Path(description="From the receipt.")]) -> str:
    """An id that could be one; others never reach the database."""
    if not re.fullmatch(ID_PATTERN, feedback_id):
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "There is no such correction here, or it is not yours.")
    return feedback_id


FeedbackId = Annotated[str, Depends(_known_form)]


async def reviewer(request: Request, gateway: TheGateway, desk: TheDesk, who: Caller) -> str:
    """Who reviews: the id of an API key that may, or ``local`` on a gateway that only this machine can reach.

    Raises:
        RequestRefusedError: the caller may not (403), or has no key where one is needed (401).
    """
    if who.startswith("key:"):
        _check_key(gateway, desk, who.removeprefix("key:"))
        return who
    # The name that the browser believes to talk to: a page from elsewhere may have its name point to this machine.
    if desk.is_private and is_loopback(request.url.hostname or ""):
        return "local"
    raise RequestRefusedError(
        HTTPStatus.FORBIDDEN,
        "Reviewing from another machine needs API keys: set MIEN_GATEWAY_REQUIRE_KEYS=true, and "
        "MIEN_FEEDBACK_REVIEWERS to the names of those that may. `python -m mien.gateway feedback` does it without.",
    )


def _check_key(gateway: Gateway, desk: FeedbackDesk, identifier: str) -> None:
    names = {identifier, *(key.name for key in gateway.keys.entries() if key.id == identifier)}
    if names.isdisjoint(desk.settings.reviewers):
        raise RequestRefusedError(
            HTTPStatus.FORBIDDEN,
            "This API key may not review: neither its name nor its id is in MIEN_FEEDBACK_REVIEWERS.",
        )


Reviewer = Annotated[str, Depends(reviewer)]
