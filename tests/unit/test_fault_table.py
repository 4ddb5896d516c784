"""A row holds only if its tests ran, passed and told a figure; every mutation still finds what it takes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutations import MUTATIONS, Mutation
from tests.faults.rows import ROWS
from tests.faults.table import BEGIN, END, FaultTable, Result

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (Result(), "not run"),
        (Result(figures=["1 of 1"], passed=1), "held"),
        (Result(passed=1), "BROKEN: no figure"),
        (Result(figures=["0 of 1"], passed=1, broken=["test_it"]), "BROKEN: test_it"),
        (Result(figures=["1 of 1"], passed=1, skipped=["no Redis"]), "not run; no Redis"),
    ],
)
def test_a_row_holds_only_with_tests_that_passed_and_a_figure(result: Result, verdict: str) -> None:
    assert result.verdict == verdict


def test_the_table_goes_between_the_marks_and_holds_if_all_of_its_rows_do(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{BEGIN}\nan earlier one\n{END}\nAfter.\n")
    results = FaultTable()
    for number in ROWS:
        assert not results.holds
        results[number].passed, results[number].figures = 1, ["0 lost", "p99 3 ms"]
    assert results.holds
    results.write(page, "2 cores")
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "an earlier one" not in text
    assert sum("| 0 lost; p99 3 ms | held |" in line for line in text.splitlines()) == len(ROWS)
    assert not FaultTable([1]).has_all_rows


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_what_it_takes_out(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.text) == 1
    assert mutation.text != mutation.replacement
    assert mutation.row in ROWS
    file, _, name = mutation.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / ("" if "/" in file else "tests/faults") / file).read_text()
