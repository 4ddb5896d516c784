"""Tables for a page of the documentation, and where in the page they go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    for cells in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def check_marks(page: Path, begin: str, end: str) -> None:
    """See that there is a place to write to.

    Raises:
        MienError: the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise MienError(f"{page} has no marks {begin} and {end} to put the result between.")


def between_marks(page: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between two marks of a page.

    Raises:
        MienError: the page has no such marks.
    """
    check_marks(page, begin, end)
    text = page.read_text(encoding="utf-8")
    pattern = f"{re.escape(begin)}.*{re.escape(end)}"
    page.write_text(re.sub(pattern, lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL), encoding="utf-8")
