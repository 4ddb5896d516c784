"""What a client tells of its calls to whoever asked to be told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mien.results import Comparison, Miss, Result

logger = logging.getLogger(__name__)

T = TypeVar("T")
OnResult = Callable[[Result], None]
OnComparison = Callable[[Comparison], None]
OnMiss = Callable[[Miss], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """A client's hooks; None where nobody asked.

    Attributes:
        on_result: called for each classified face or window of speech.
        on_comparison: called for each shadow call that the candidate answered.
        on_miss: called for each call that was meant for the candidate and that it did not answer, though it is there.
    """

    on_result: OnResult | None = None
    on_comparison: OnComparison | None = None
    on_miss: OnMiss | None = None


def call(hook: Callable[[T], None] | None, value: T) -> None:
    """Give `value` to a hook, if there is one; its errors are logged and harm nothing."""
    if hook is None:
        return
    try:
        hook(value)
    except Exception:
        logger.exception("The hook for a %s failed; the call goes on.", type(value).__name__)
