"""Configurations of experiments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training import networks
from training.config import Config, Distillation, Plateau, Stage, Teacher, available, load_config
from training.errors import TrainingError


@pytest.mark.parametrize("name", available())
def test_every_shipped_configuration_names_known_networks_and_says_what_it_costs(name: str) -> None:
    config = load_config(name)
    module = (Path(networks.__file__).parent / "configs" / f"{name}.py").read_text()

    assert config.network in networks.NETWORKS
    assert {t.network for t in (config.distillation.teachers if config.distillation else ())} <= set(networks.NETWORKS)
    assert f"CONFIG={name}" in module
    assert json.loads(json.dumps(config.as_json()))["network"] == config.network


def test_an_unknown_configuration_is_named_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"no configuration 'fast'.*quick"):
        load_config("fast")


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"ema": 1.0}, "ema must be in 0..1"),
        ({"warmup_epochs": 3.0}, "warmup_epochs must be less than epochs"),
        ({"warmup_epochs": 1.0, "stages": (Stage(0), Stage(2))}, "less than epochs, and than each stage's"),
        ({"stages": ()}, "epochs must begin at 0 and rise"),
        ({"stages": (Stage(1),)}, "epochs must begin at 0 and rise"),
        ({"stages": (Stage(0), Stage(3))}, "epochs must begin at 0 and rise to less than epochs"),
        ({"stages": (Stage(0), Stage(2), Stage(1))}, "epochs must begin at 0 and rise"),
        ({"stages": (Stage(rate=0.0),)}, "rate of a stage must be positive"),
        ({"stages": (Stage(trainable=()),)}, "a stage must let a layer learn"),
        ({"plateau": Plateau()}, "plateau needs the constant schedule"),
        ({"distillation": Distillation(())}, "distillation needs a teacher"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(TrainingError, match=rule):
        Config(**{"network": "vgg_half", "epochs": 3, "learning_rate": 0.1} | values)  # type: ignore[arg-type]


def test_a_configuration_with_teachers_is_json() -> None:
    teacher = Teacher("vgg8", Path("runs/vgg8/network.weights.h5"))
    config = Config("vgg_half", 3, 0.1, distillation=Distillation((teacher,)))

    assert json.loads(json.dumps(config.as_json()))["distillation"]["teachers"] == [
        {"network": "vgg8", "weights": "runs/vgg8/network.weights.h5"}
    ]
