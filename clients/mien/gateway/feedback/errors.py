"""Errors of the feedback store.

::

    MienError
    └── FeedbackError               something cannot be done with the store
        ├── UnknownFeedbackError        there is no such correction, or it is not the caller's
        ├── FeedbackFullError           it holds as many corrections as it may
        └── FeedbackUnavailableError    its database or its pictures cannot be reached, or read with these keys
"""

from __future__ import annotations

from mien.errors import MienError


class FeedbackError(MienError):
    """Something cannot be done with the feedback store; the root of what this package raises."""

    exit_code = 8


class UnknownFeedbackError(FeedbackError):
    """There is no such correction, or who asks has no right to it: the answer does not tell which."""


class FeedbackFullError(FeedbackError):
    """The store holds as many corrections as it may."""


class FeedbackUnavailableError(FeedbackError):
    """The store's database or its pictures cannot be reached, or not be read with the keys there are."""
