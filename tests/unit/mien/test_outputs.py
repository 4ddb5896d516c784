from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mien import MediaError
from mien.outputs import partial_name, replacing, save_picture

if TYPE_CHECKING:
    from pathlib import Path


def test_the_name_is_given_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    with replacing(path) as beside:
        beside.write_text("rows")
        assert not path.exists()
        assert (beside.parent, beside.suffix) == (path.parent, ".csv")
    assert path.read_text() == "rows"
    assert [item.name for item in path.parent.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(("keep", "left"), [(False, ["rows.csv"]), (True, ["rows.csv", "rows.partial.csv"])])
def test_an_error_leaves_the_old_file_as_it_was(tmp_path: Path, keep: bool, left: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path, keep_partial=keep) as beside:
            beside.write_text("half")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        write_half()
    assert path.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == left


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), replacing(tmp_path / "rows.csv", keep_partial=True):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=r"rows\.csv cannot be written"), replacing(tmp_path / "file" / "rows.csv"):
        pass


def test_pictures_are_saved_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    picture = np.full((9, 7, 3), (10, 20, 30), np.uint8)
    save_picture(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == picture).all()
    with pytest.raises(MediaError, match=r"use \.jpg or \.png"):
        save_picture(picture, tmp_path / "a.xyz")
    assert not partial_name(tmp_path / "a.xyz").exists()
