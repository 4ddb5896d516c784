"""The result goes between a page's marks, and a second one replaces the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import page
from benchmarks.comparison import LATENCY
from mien.errors import MienError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def result() -> dict[str, Any]:
    figures = {
        "in process": {LATENCY: [1.0, 1.2], "16 x 1, faces/s": [700.0, 720.0], "4 x 16, faces/s": [700.0, 710.0]},
        "Mien, SDK": {LATENCY: [2.0, 2.4], "16 x 1, faces/s": [350.0, 720.0], "4 x 16, faces/s": [700.0, 710.0]},
        "BentoML": {LATENCY: [5.0, 5.0], "16 x 1, faces/s": [100.0, 120.0], "4 x 16, faces/s": [70.0, 71.0]},
    }
    return {
        "date": "2026-11-28",
        "machine": "2 cores",
        "software": "numpy 2",
        "settings": "2 rounds",
        "peers": {"BentoML": "bentoml 1"},
        "notes": ["LitServe is left out: it does not start."],
        "figures": figures,
        "ours": {"model load, s": [0.5, 0.6]},
        "resident MiB": {"tritonserver": 50.0},
    }


def test_the_page_holds_the_newest_result(tmp_path: Path, result: dict[str, Any]) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text(f"Before.\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n")
    (tmp_path / "pictures").mkdir()
    page.write(result, file)
    page.write(result, file)

    text = file.read_text()
    assert "old" not in text
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    row = "| Mien, SDK | 2.20 (2.00-2.40) | 535 (350-720) | 0.75 (0.50-1.00) | 705 (700-710) | 1.00 (1.00-1.00) |"
    assert text.count(row) == 1
    assert "| BentoML, 16 x 1 | 4.75 (3.50-6.00) |" in text
    assert "LitServe is left out" in text
    assert (tmp_path / page.PLOT).read_text().lstrip().startswith("<?xml")


def test_a_page_without_marks_is_refused(tmp_path: Path, result: dict[str, Any]) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text("Nothing here.\n")
    with pytest.raises(MienError, match="no marks"):
        page.write(result, file)
    assert file.read_text() == "Nothing here.\n"
