"""What became of each row: the figures that its tests reported and whether what it promises held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.markdown import between_marks, table
from tests.faults.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


@dataclass
class Result:
    """One row's.

    Attributes:
        figures: what its tests measured, a phrase each.
        passed: how many tests passed.
        broken: names of those that failed.
        skipped: why others did not run.
        seconds: all of them took, with what they started.
    """

    figures: list[str] = field(default_factory=list)
    passed: int = 0
    broken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """Of everything that its tests have shown; a row holds only with a figure."""
        if self.broken:
            return f"BROKEN: {', '.join(self.broken)}"
        if self.skipped or not self.passed:
            return "; ".join(["not run", *self.skipped])
        return "held" if self.figures else "BROKEN: no figure"


class FaultTable:
    """The rows asked for.

    Args:
        numbers: of the rows; the others are left out.
    """

    def __init__(self, numbers: Iterable[int] = ROWS) -> None:
        self._results = {number: Result() for number in sorted(numbers)}

    def __contains__(self, number: int) -> bool:
        return number in self._results

    def __getitem__(self, number: int) -> Result:
        return self._results[number]

    @property
    def has_all_rows(self) -> bool:
        """Whether none was left out."""
        return self._results.keys() == ROWS.keys()

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(result.verdict == "held" for result in self._results.values())

    def lines(self) -> Iterator[str]:
        """For a terminal: a line for each row and one for each of its figures."""
        for number, result in self._results.items():
            yield f"{number:3}  {ROWS[number].fault}: {result.verdict} ({result.seconds:.0f} s)"
            yield from (f"       {figure}" for figure in result.figures)

    def markdown(self) -> str:
        """For a page."""
        head = ("", "fault", "must hold", "measured", "verdict", "s")
        rows = [
            (
                str(number),
                ROWS[number].fault,
                ROWS[number].promise,
                "; ".join(result.figures).replace("|", "\\|"),
                result.verdict,
                f"{result.seconds:.0f}",
            )
            for number, result in self._results.items()
        ]
        return "\n".join(table(head, rows))

    def write(self, page: Path, settings: str) -> None:
        """Put the table between the page's marks, below a line that says what it was measured with.

        Raises:
            MienError: the page has no such marks.
        """
        between_marks(page, BEGIN, END, f"{settings}\n\n{self.markdown()}")
