"""What the pages of reports have in common: templates, pictures inside the page, and files written as a whole."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from collections.abc import Mapping


def environment() -> jinja2.Environment:
    """Templates of `training/templates`, with the filters they use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["share"] = lambda value, digits=3: "-" if value is None else f"{value:.{digits}f}"
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["value"] = lambda value: f"{value:.4g}" if isinstance(value, float) else str(value)
    return environment


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write each text under its name, beside its place and then renamed: a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".report-") as staging:
        for name, text in texts.items():
            Path(staging, name).write_text(text, encoding="utf-8")
            Path(staging, name).replace(folder / name)


def svg_uri(svg: bytes) -> str:
    """A data URI of an SVG picture."""
    return uri("image/svg+xml", svg)


def uri(kind: str, data: bytes) -> str:
    """A data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
