"""The forms in which datasets come."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests.unit.training.faces import picture, png, write_csv, write_tree, zipped
from training import dataset, sources
from training.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = ("train/Training", "test/PublicTest", "test/PrivateTest")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "faces", splits=SPLITS)


def test_public_and_private_test_are_told_apart_in_one_folder(tree: Path) -> None:
    loaded = dataset.load(tree)

    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 14, "validation": 14, "test": 14}
    assert all("PublicTest" in name for name in loaded.validation.names)
    assert loaded.train.examples.shape == (14, 48, 48, 1)


def test_tree_zip_and_both_csv_forms_are_the_same_dataset(tree: Path, tmp_path: Path) -> None:
    forms = [
        zipped(tree),
        write_csv(tmp_path / "fer2013.csv", tree),
        write_csv(tmp_path / "icml_face_data.csv", tree, header="emotion, Usage, pixels"),
    ]
    packed = tmp_path / "download"
    packed.mkdir()
    shutil.copy(forms[2], packed)
    (packed / "test.csv").write_text("pixels\n")
    forms.append(zipped(packed))

    assert {dataset.load(form).digest for form in forms} == {dataset.load(tree).digest}


def test_the_digest_changes_with_one_label(tree: Path) -> None:
    before = dataset.load(tree).digest
    moved = next((tree / "train" / "happy").iterdir())
    moved.rename(tree / "train" / "sad" / moved.name)

    assert dataset.load(tree).digest != before


def test_folders_without_splits_give_a_stratified_validation(tmp_path: Path) -> None:
    root = write_tree(tmp_path, per_class=20, splits=("any/face",)) / "any"

    loaded = dataset.load(root)

    assert np.bincount(loaded.validation.labels).tolist() == [2] * 7
    assert np.bincount(loaded.train.labels).tolist() == [18] * 7
    assert dataset.load(root).validation.names == loaded.validation.names


def test_a_manifest_names_paths_labels_and_splits(tree: Path, tmp_path: Path) -> None:
    rows = [
        f"faces/{file.relative_to(tree)},{file.parent.name.upper()},{'val' if 'test' in file.parts else 'train'}"
        for file in sorted(tree.rglob("*.png"))
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label,split", *rows]))

    loaded = dataset.load(table)

    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 14, "validation": 28}


def test_larger_colour_pictures_are_scaled_as_the_server_scales_crops(tmp_path: Path) -> None:
    image, size = sources.decode(png(cv2.cvtColor(picture(3, size=192), cv2.COLOR_GRAY2BGR)))

    assert size == (192, 192)
    assert image.shape == (48, 48)
    expected = cv2.resize(picture(3, size=192), (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_other_files_are_passed_over(tree: Path) -> None:
    (tree / "README.txt").write_text("about")
    (tree / "train" / "happy" / ".DS_Store").write_bytes(b"x")

    assert len(dataset.load(tree).train) == 14


def message_of(path: Path) -> str:
    with pytest.raises(DatasetError) as raised:
        dataset.load(path)
    return str(raised.value)


def test_a_missing_path(tmp_path: Path) -> None:
    assert message_of(tmp_path / "absent") == f"There is no dataset at {tmp_path / 'absent'}."


def test_a_file_of_no_known_form(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.tar.gz"
    path.write_bytes(b"x")

    assert "is no directory, zip file or CSV file. Unpack it" in message_of(path)


def test_a_directory_without_pictures(tmp_path: Path) -> None:
    assert "holds no pictures in folders named by emotion" in message_of(tmp_path)


def test_a_csv_file_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")

    assert "x.csv has the columns a, b; needed: emotion,pixels,Usage or path,label,split." in message_of(path)


def test_a_wrong_label_is_named_with_its_count(tree: Path) -> None:
    shutil.copytree(tree / "train" / "happy", tree / "train" / "contempt")

    assert "Label 'contempt' (2 faces) is none of angry, disgust, fear" in message_of(tree)


def test_an_empty_class_is_named(tree: Path) -> None:
    shutil.rmtree(tree / "train" / "disgust")

    assert "0 of the 12 train faces are disgust; every class needs faces." in message_of(tree)


def test_unreadable_files_are_counted_and_named_and_may_be_skipped(tree: Path) -> None:
    first, second = sorted((tree / "train" / "happy").iterdir())[:2]
    first.write_bytes(first.read_bytes()[:200])
    (tree / "train" / "sad" / "note.png").write_text("no picture")

    message = message_of(tree)

    assert "2 unreadable: train/happy/" in message
    assert "train/sad/note.png: cannot identify image file" in message
    assert second.exists()
    assert len(dataset.load(tree, skip_unreadable=True).train) == 13


def test_sixteen_bit_pictures_are_unreadable(tree: Path) -> None:
    (tree / "train" / "sad" / "deep.png").write_bytes(cv2.imencode(".png", np.full((48, 48), 40_000, np.uint16))[1])

    assert "1 unreadable: train/sad/deep.png: pixels of kind I;16; 8 bits are needed" in message_of(tree)


def test_a_manifest_with_a_missing_picture(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\ngone.png,happy\n")

    assert "1 unreadable: gone.png: not there" in message_of(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ("1 2 3", "3 pixels; 48 x 48 are needed"),
        ("1 2 x", "its pixels are not all whole numbers"),
        (" ".join(["300"] * 2304), "grey levels 300 to 300; 0 to 255 are needed"),
    ],
)
def test_damaged_csv_rows_are_named(tmp_path: Path, pixels: str, reason: str) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n")

    assert f"1 unreadable: fer2013.csv, line 2: {reason}" in message_of(path)


def test_mixed_sizes_are_reported_with_counts_but_not_refused(tree: Path) -> None:
    (tree / "train" / "sad" / "large.png").write_bytes(png(picture(99, size=64)))

    (problem,) = sources.read(tree).problems()

    assert not problem.fatal
    assert problem.message == "Pictures of 2 sizes (42 of 48 x 48, 1 of 64 x 64), scaled to 48 x 48."
    assert len(dataset.load(tree).train) == 15


def test_a_dataset_without_training_faces(tmp_path: Path) -> None:
    assert "There are no training faces, only test." in message_of(write_tree(tmp_path, splits=("test/PrivateTest",)))


def test_a_class_too_small_to_hold_out(tmp_path: Path) -> None:
    assert "10% of each class cannot be held out of 7 faces" in message_of(
        write_tree(tmp_path, per_class=1, splits=("train/Training",))
    )


def test_a_file_is_read_as_what_it_holds_and_only_if_that_is_a_picture(tree: Path) -> None:
    """Pillow would start Ghostscript for a PostScript file, whatever it is called."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\n(x) print\n"
    (tree / "train/happy/program.png").write_bytes(program)

    (problem,) = sources.read(tree).problems()

    assert "1 unreadable: train/happy/program.png: cannot identify image file" in problem.message


@pytest.mark.parametrize("name", ["../outside.png", "{folder}/outside.png", "inside/../../outside.png"])
def test_a_table_names_no_picture_outside_its_dataset(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(png(picture(0)))
    (folder / "faces.csv").write_text(f"path,label\n{name.format(folder=tmp_path)},happy\n")

    reading = sources.read(folder)

    assert not reading.examples
    assert list(reading.unreadable.values()) == ["leads out of the dataset"]
