"""What a command prints, where the locale's encoding lacks a letter of it."""

from __future__ import annotations

import io
import sys


def escape_what_cannot_be_encoded() -> None:
    r"""Have stdout print such letters as ``\u2026``, as stderr does anyway, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
