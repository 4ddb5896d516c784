"""Protections taken out on purpose: each must turn its row red, or the row's tests prove nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One protection taken out.

    Attributes:
        name: what is taken out, in a few words.
        row: that must notice.
        file: of the repository, that is changed.
        text: that stands there exactly once.
        replacement: for it.
        test: the one test of the row that notices, as pytest names it, below tests/faults.
    """

    name: str
    row: int
    file: str
    text: str
    replacement: str
    test: str


LOAD = (
    Mutation(
        name="no canary before a release is served",
        row=2,
        file="serving/golden.py",
        text="if not difference <= self.tolerance:",
        replacement="if False:",
        test="test_bad_releases.py::test_bad_releases_under_load_are_refused",
    ),
)
"""Of rows 1 to 9 and 18."""

ATTACKS: tuple[Mutation, ...] = ()
"""Of rows 10 to 17."""

MUTATIONS = (*LOAD, *ATTACKS)
