"""The web page: its files, and what it must know before it asks for anything else."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from mien.faces import CROP_SCALE
from mien.gateway.gateway import TheGateway

router = APIRouter(include_in_schema=False)

_files = StaticFiles(directory=Path(__file__).with_suffix(""))

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        # What a person chose is shown from the browser's own memory.
        "img-src 'self' blob:",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, but asked for again with its ETag
}


class PageSettings(BaseModel):
    """What the page holds a file against before it sends it, how it paces a camera, and how it cuts out a face."""

    max_image_bytes: int
    max_video_bytes: int
    max_audio_bytes: int
    max_camera_frame_bytes: int
    camera_frames_per_second: float
    crop_scale: float = CROP_SCALE


@router.get("/")
async def page(request: Request) -> Response:
    """The page for people."""
    return await _file("index.html", request)


@router.get("/page/settings.json")
async def page_settings(gateway: TheGateway) -> PageSettings:
    """What the page must know of the gateway."""
    return PageSettings.model_validate(gateway.settings, from_attributes=True)


@router.get("/page/{name}")
async def page_file(name: str, request: Request) -> Response:
    """A file of the page."""
    return await _file(name, request)


async def _file(name: str, request: Request) -> Response:
    response = await _files.get_response(name, request.scope)
    response.headers.update(PAGE_HEADERS)
    return response
