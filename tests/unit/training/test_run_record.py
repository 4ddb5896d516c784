"""What is read of a training run's folder, whole, broken off or damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from training.errors import TrainingError
from training.run_record import RunRecord, read_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_finished_run_tells_everything(tmp_path: Path) -> None:
    record = {
        "network": "vgg_half",
        "config": {"epochs": 2},
        "dataset": {"name": "faces", "digest": "d"},
        "history": {"loss": [2.0, 1.0]},
        "best_epoch": 1,
    }
    (tmp_path / "result.json").write_text(json.dumps(record))

    run = read_run(tmp_path)

    assert (run.network, run.config, run.dataset["digest"]) == ("vgg_half", {"epochs": 2}, "d")
    assert run.history == {"loss": [2.0, 1.0]}
    assert run.facts == {"best_epoch": 1}


def test_a_run_that_was_broken_off_tells_its_history(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("epoch,loss,val_accuracy\n0,2.0,0.3\n1,1.5,0.4\n")

    assert read_run(tmp_path).history == {"loss": [2.0, 1.5], "val_accuracy": [0.3, 0.4]}


def test_a_folder_without_a_run_tells_nothing(tmp_path: Path) -> None:
    assert read_run(tmp_path) == RunRecord()


@pytest.mark.parametrize(("name", "text"), [("result.json", "{"), ("log.csv", "epoch,loss\n0,much\n")])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(TrainingError, match=f"{name} is damaged.*Remove it"):
        read_run(tmp_path)
