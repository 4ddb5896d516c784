"""Search spaces: checked when made, and turned into configurations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import optuna
import pytest

from training.augmentation import AugmentationConfig
from training.config import Config, load_config
from training.errors import TrainingError
from training.space import Choice, Float, Int, Space, available, configure, load_space

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = Config("vgg_small", epochs=3, learning_rate=0.1)


@pytest.mark.parametrize("name", available())
def test_every_shipped_space_fits_its_configuration_and_is_json(name: str) -> None:
    space = load_space(name)

    space.check(load_config("speech_linear" if name == "voices" else "quick"))

    assert json.loads(json.dumps(space.as_json())).keys() == space.parameters.keys()


def test_an_unknown_space_is_named_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"no search space 'wide'.*augmentation, recipe"):
        load_space("wide")


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Float(1, 0.5), "low must be less than high"),
        (lambda: Int(3, 3), "low must be less than high"),
        (lambda: Float(0, 1, log=True), "must begin above 0"),
        (lambda: Float(0, float("inf")), "must be finite"),
        (lambda: Choice((64,)), "two or more different values"),
        (lambda: Choice((64, 64)), "two or more different values"),
        (lambda: Choice(((1.0, 2.0), (2.0, 3.0))), r"holds \(1.0, 2.0\)"),  # type: ignore[arg-type]
        (lambda: Space({}), "empty"),
        (lambda: Space({"speed": Float(0, 1)}), "no 'speed' in Config. It has: network, epochs"),
        (lambda: Space({"augmentation.tilt": Float(0, 1)}), "no 'tilt' in augmentation. It has: flip"),
        (lambda: Space({"dropout.rate": Float(0, 1)}), "no 'rate' in dropout. It has no parts"),
        (lambda: Space({"batch_size": Float(32, 64)}), "'batch_size' cannot be 32.0: it is int"),
        (lambda: Space({"optimizer": Choice(("sgd", "lion"))}), "cannot be 'lion': it is one of 'sgd'"),
        (lambda: Space({"class_weights": Int(0, 1)}), "cannot be 0: it is bool"),
        (lambda: Space({"augmentation": Choice((True, False))}), "cannot be True"),
        (lambda: Space({"epochs": Int(1, 9)}), "every trial has the same number"),
        (lambda: Space({"seed": Int(1, 9)}), "one seed is not better"),
    ],
)
def test_what_cannot_be_searched_is_refused(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(TrainingError, match=rule):
        make()


def test_values_take_the_place_of_the_bases_also_in_its_parts() -> None:
    base = Config("vgg_small", epochs=3, learning_rate=0.1, augmentation=AugmentationConfig(flip=0.25))

    config = configure(base, {"learning_rate": 0.02, "ema": None, "augmentation.shift": 2.0, "augmentation.scale": 0.1})

    assert (config.learning_rate, config.ema, config.epochs) == (0.02, None, 3)
    assert config.augmentation == AugmentationConfig(flip=0.25, shift=2.0, scale=0.1)


def test_a_space_that_breaks_the_base_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(TrainingError, match=r"with warmup_epochs = 5.0: .*must be less than epochs"):
        Space({"warmup_epochs": Float(0, 5)}).check(BASE)
    with pytest.raises(TrainingError, match=r"vgg_small has no plateau, so plateau.factor means nothing"):
        Space({"plateau.factor": Float(0.1, 0.5)}).check(BASE)


def test_suggestions_stay_within_the_space_and_make_a_configuration() -> None:
    space = Space(
        {
            "learning_rate": Float(0.01, 0.1, log=True),
            "batch_size": Int(8, 64),
            "ema": Choice((None, 0.99)),
            "augmentation.mixup": Choice((0.0, 0.2)),
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    for _ in range(20):
        config = configure(BASE, space.suggest(study.ask()))
        assert 0.01 <= config.learning_rate <= 0.1
        assert 8 <= config.batch_size <= 64
        assert config.ema in (None, 0.99)
        assert config.augmentation.mixup in (0.0, 0.2)


def test_a_space_of_faces_is_refused_for_speech() -> None:
    with pytest.raises(TrainingError, match="augmentation of speech_linear has no flip"):
        configure(load_config("speech_linear"), {"augmentation.flip": 0.5})
