"""Processes that stand still: to others they are what a machine is that has vanished without a word."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def frozen(process_id: int) -> Iterator[None]:
    """Inside, a process and its children do nothing, and their connections stay."""
    parent = psutil.Process(process_id)
    parent.suspend()  # first, so that no child is born meanwhile
    family = [parent, *parent.children(recursive=True)]
    try:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()
