"""What a person agrees to when giving a correction."""

from __future__ import annotations

_TERMS = (
    "I agree that this picture of a face and my correction are stored for up to {days} days, that people who review "
    "corrections look at them, and that they are used to train the model. The person in the picture is me, or agrees "
    "to this too, and is not a child. I can have them erased at any time with the code that I get now. A model that "
    "was trained with them by then stays as it is."
)


def terms(retention_days: int) -> str:
    """The wording; it is kept with each correction, as proof of what was agreed to."""
    return _TERMS.format(days=retention_days)
