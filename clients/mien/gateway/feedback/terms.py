"""What a person agrees to when giving a correction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.gateway.feedback.kinds import Kind

_TERMS = (
    "I agree that this {what} and my correction are stored for up to {days} days, that people who review "
    "corrections {look}, and that they are used to train the model. {whose} is me, or agrees "
    "to this too, and is not a child. I can have them erased at any time with the code that I get now. A model that "
    "was trained with them by then stays as it is."
)


def terms(retention_days: int, kind: Kind) -> str:
    """The wording; it is kept with each correction, as proof of what was agreed to."""
    return _TERMS.format(what=kind.what, look=kind.review, whose=kind.whose, days=retention_days)
