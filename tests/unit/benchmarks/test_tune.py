"""Which configurations are tried, and which of them is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.tune import FINALISTS, Trial, Tuning, best_of, grid, halve, write
from serving.configuration import read_config
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = ("emotion_preprocess", "emotion_classifier")


def trials(*ratios: float) -> list[Trial]:
    """The configuration as it is, and others in the order of the grid."""
    return [Trial(None, [100.0], [1.0], [1.0]), *(Trial(grid()[0], [1.0], [1.0], [ratio]) for ratio in ratios)]


def test_every_combination_is_there_once_and_sizes_are_preferred_only_with_a_delay() -> None:
    tried = grid()
    assert len(set(tried)) == len(tried) == 24
    assert all(tuning.queue_delay_us for tuning in tried if tuning.preferred_batches)


def test_noise_does_not_replace_the_configuration_as_it_is() -> None:
    measured = trials(1.02, 0.7)
    assert best_of(measured) is measured[0]


def test_the_simplest_of_those_about_equal_wins() -> None:
    measured = trials(1.30, 1.32, 1.1)
    assert best_of(measured) is measured[1]


def test_the_better_half_stays_and_with_it_the_configuration_as_it_is() -> None:
    measured = trials(0.9, 1.5, 1.1, 1.4, 0.8, 1.2, 1.3)
    assert [trial.ratio for trial in halve(measured)] == [1.0, 1.5, 1.4, 1.3]
    assert len(halve(measured[:4])) == FINALISTS


def test_a_set_is_written_beside_the_configuration_it_starts_from(tmp_path: Path) -> None:
    for member in MEMBERS:
        (tmp_path / member).mkdir()
        (tmp_path / member / "config.pbtxt").write_bytes(
            (ROOT / "model_repository" / member / "config.pbtxt").read_bytes()
        )
    write(Tuning(3, 1, 3, 500, (8, 16)), tmp_path, MEMBERS, "tuned")
    preprocess, classifier = (read_config(tmp_path / member / "configs/tuned.pbtxt") for member in MEMBERS)
    before = read_config(tmp_path / "emotion_classifier/config.pbtxt")
    assert preprocess.instance_group[0].count == classifier.instance_group[0].count == 3
    assert classifier.parameters["intra_op_thread_count"].string_value == "1"
    assert classifier.dynamic_batching.max_queue_delay_microseconds == 500
    assert list(classifier.dynamic_batching.preferred_batch_size) == [8, 16]
    assert classifier.dynamic_batching.default_queue_policy == before.dynamic_batching.default_queue_policy
    assert classifier.version_policy == before.version_policy
    assert before.instance_group[0].count == 2
