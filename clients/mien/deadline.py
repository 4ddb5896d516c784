"""One deadline for everything in a call."""

from __future__ import annotations

import time

from mien.errors import DeadlineExceededError, SettingsError


class Deadline:
    """A moment by which a whole call must be over.

    Args:
        seconds: from now on; more than 0.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise SettingsError(f"deadline_s is {seconds!r}: give a number of seconds above 0.")
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        """By `time.monotonic`."""

    def remaining_s(self) -> float:
        """Seconds left, more than 0.

        Raises:
            DeadlineExceededError: there are none.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError(
                f"The call was not over within {self.seconds:g} s; allow more time (deadline_s) or give it less to do."
            )
        return left

    def check(self) -> None:
        """Nothing, if there is time left.

        Raises:
            DeadlineExceededError: there is none.
        """
        self.remaining_s()

    def half(self) -> Deadline:
        """A deadline for a first try, which leaves as much time for a second one.

        Raises:
            DeadlineExceededError: there is none left.
        """
        return Deadline(self.remaining_s() / 2)
