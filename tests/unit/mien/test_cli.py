from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mien import cli
from mien.records import FACE_COLUMNS
from tests.unit.mien.conftest import PORTRAIT
from tests.unit.mien.test_video import FRAMES, written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.mien.command_line import Mien


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(PORTRAIT.read_bytes())
    return path


def test_image_prints_a_table_and_writes_the_annotated_picture(mien: Mien, options: list[str], photo: Path) -> None:
    out_file = photo.parent / "annotated.png"
    code, out, err = mien("image", photo, "--out", out_file, *options)
    assert (code, err) == (0, "")
    assert "photo.jpg" in out.replace("\n", "")
    assert f"Annotated: {out_file}" in out
    with Image.open(out_file) as image:
        assert image.size == (512, 512)


def test_image_json_is_one_object_a_picture(mien: Mien, options: list[str], photo: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(tmp_path / "black.png")
    code, out, _ = mien("image", photo, tmp_path / "black.png", "--json", *options)
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["file"], first["width"], len(first["faces"])) == (str(photo), 512, 1)
    assert sum(first["faces"][0]["probabilities"].values()) == pytest.approx(1)
    assert first["faces"][0]["model_version"] == "3"
    assert (second["width"], second["height"], second["faces"]) == (60, 50, [])


def test_image_csv(mien: Mien, options: list[str], photo: Path, tmp_path: Path) -> None:
    assert mien("image", photo, "--csv", tmp_path / "a.csv", *options)[0] == 0
    _, out, _ = mien("image", photo, "--csv", "-", *options)
    assert (tmp_path / "a.csv").read_text() == out
    (row,) = csv.DictReader(io.StringIO(out))
    assert list(row) == ["file", "face", *FACE_COLUMNS]


def test_one_bad_picture_does_not_stop_the_others(mien: Mien, options: list[str], photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("hello")
    code, out, err = mien("image", tmp_path / "bad.jpg", photo, tmp_path / "absent.jpg", "--json", *options)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert ["error" in record for record in records] == [True, False, True]
    assert err.count("Error: ") == 2
    assert "bad.jpg is not a picture" in err


def test_pictures_of_the_same_name_get_names_of_their_own(
    mien: Mien, options: list[str], photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / photo.name
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    assert mien("image", photo, other, "--out", tmp_path / "out", *options)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo-2.emotions.jpg", "photo.emotions.jpg"]


def test_a_picture_is_never_written_over(mien: Mien, options: list[str], photo: Path) -> None:
    before = photo.read_bytes()
    code, _, err = mien("image", photo, "--out", photo, *options)
    assert code == 3
    assert "choose another name" in err
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["image", PORTRAIT, "--endpoint", "127.0.0.1:1", "--detector", "haar"], 5, "No Triton server answers"),
        (["models", "--endpoint", "127.0.0.1:1"], 5, "No Triton server answers"),
        (["image", PORTRAIT, "--endpoint", "nowhere"], 2, "MIEN_ENDPOINTS"),
        (["image", PORTRAIT, "--detector", "eyes"], 2, "MIEN_DETECTOR"),
        (["image", PORTRAIT, "--yunet", "absent.onnx"], 4, "absent.onnx cannot be read"),
        (["image", PORTRAIT, "--deadline", "0"], 2, "MIEN_DEADLINE_S"),
        (["video", "absent.mp4"], 3, "There is no video file absent.mp4"),
        (["webcam"], 3, "opencv-python"),
        (["image"], 2, "Missing argument"),
        (["picture"], 2, "No such command"),
    ],
)
def test_errors_are_a_sentence_and_a_code(mien: Mien, arguments: list[Any], code: int, said: str) -> None:
    found, out, err = mien(*arguments)
    assert (found, out) == (code, "")
    assert said in err


def test_a_fault_of_miens_shows_no_traceback(mien: Mien, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien import commands

    monkeypatch.setattr(commands, "client_settings", lambda *_, **__: 1 / 0)
    code, _, err = mien("image", photo)
    assert code == cli.EXIT_FAULT
    assert "division by zero" in err


def test_without_the_extra_a_sentence_names_it(mien: Mien, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "mien.commands", raising=False)
    monkeypatch.delattr("mien.commands", raising=False)
    code, _, err = mien("models")
    assert code == 2
    assert "pip install 'mien[cli]'" in err


def test_version_and_help(mien: Mien) -> None:
    code, out, _ = mien("--version")
    assert (code, out.split()[0]) == (0, "mien")
    code, out, _ = mien("--help")
    assert code == 0
    assert all(command in out for command in ("image", "video", "webcam", "models"))


def test_video_writes_rows_and_an_annotated_video(mien: Mien, options: list[str], tmp_path: Path) -> None:
    source = written(tmp_path / "a.mp4")
    code, out, err = mien(
        "video",
        source,
        "--csv",
        tmp_path / "o.csv",
        "--json",
        tmp_path / "o.jsonl",
        "--out",
        tmp_path / "o.mp4",
        *options,
    )
    assert (code, out) == (0, "")
    assert f"in {FRAMES} frames" in err
    assert (tmp_path / "o.csv").read_text().startswith("frame,time_s,face,x,y")
    assert (tmp_path / "o.mp4").stat().st_size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "o.csv", "o.jsonl", "o.mp4"]


def test_video_without_a_file_prints_csv(mien: Mien, options: list[str], tmp_path: Path) -> None:
    code, out, _ = mien("video", written(tmp_path / "a.mp4"), "--fps", "2", *options)
    assert code == 0
    assert out.startswith("frame,time_s,face,")


def test_a_truncated_video_keeps_what_was_read(mien: Mien, options: list[str], tmp_path: Path) -> None:
    source = written(tmp_path / "a.avi")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    code, _, err = mien("video", source, "--csv", tmp_path / "o.csv", *options)
    assert code == 3
    assert "truncated" in err
    assert (tmp_path / "o.csv").exists()


def test_a_video_without_a_server_leaves_no_file(mien: Mien, tmp_path: Path) -> None:
    """A black video has no face to ask about, so this one shows a portrait."""
    from mien.video import VideoWriter

    with VideoWriter(tmp_path / "a.mp4", 10) as writer, Image.open(PORTRAIT) as image:
        writer.write(np.asarray(image))
    code, _, err = mien(
        "video", tmp_path / "a.mp4", "--csv", tmp_path / "o.csv", "--endpoint", "127.0.0.1:1", "--detector", "haar"
    )
    assert code == 5
    assert "No Triton server answers" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
