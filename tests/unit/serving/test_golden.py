"""What is in the place of golden faces and is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien.contract import EMOTION
from serving.errors import PromotionError
from serving.golden import read_golden
from serving.repository import ModelRepository

if TYPE_CHECKING:
    from tests.unit.serving.conftest import MakeRepository


class Executed:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def archive(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        archive(faces=np.zeros(1))[:-40],
        archive(faces=np.zeros(1)),
        archive(faces=np.zeros(1), probabilities=np.zeros(1), tolerance=np.zeros(2)),
    ],
    ids=["empty", "text", "truncated", "incomplete", "tolerances"],
)
def test_a_file_that_holds_none_is_named(make_repository: MakeRepository, content: bytes) -> None:
    folder = make_repository("repository")
    (folder / "emotion/1/golden.npz").write_bytes(content)
    with pytest.raises(PromotionError, match=r"golden.npz holds no golden inputs.*Export the release again"):
        read_golden(ModelRepository(folder), EMOTION, 1)


def test_a_pickle_is_not_opened(make_repository: MakeRepository, tmp_path: Path) -> None:
    folder, proof = make_repository("repository"), tmp_path / "executed"
    faces = np.array([Executed(proof)], object)
    (folder / "emotion/1/golden.npz").write_bytes(archive(faces=faces, probabilities=faces, tolerance=1e-5))
    with pytest.raises(PromotionError, match="holds no golden inputs"):
        read_golden(ModelRepository(folder), EMOTION, 1)
    assert not proof.exists()
