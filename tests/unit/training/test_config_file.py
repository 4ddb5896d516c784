"""Configurations as files: what is written is read again, and what is no configuration is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.augmentation import AugmentationConfig
from training.config import Config, Distillation, Teacher, available, load_config
from training.config_file import open_config, source
from training.errors import TrainingError

TAUGHT = Config(
    "vgg_half",
    epochs=3,
    learning_rate=0.012345678901234567,
    ema=None,
    augmentation=AugmentationConfig(erased_pixels=(2.0, 3.0)),
    distillation=Distillation((Teacher("vgg8", Path('runs/it\'s "one"/a.weights.h5')),)),
)


@pytest.mark.parametrize("config", [TAUGHT, *map(load_config, available())], ids=lambda config: config.network)
def test_a_configuration_is_read_as_it_was_written(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "best.py"
    path.write_text(source(config, 'A path like C:\\new and """quotes""".'))

    assert open_config(str(path)) == config


def test_a_name_without_a_suffix_is_a_module() -> None:
    assert open_config("quick") == load_config("quick")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "There is no configuration file"),
        ("CONFIG = 3", "defines no CONFIG = Config"),
        ("CONFIG = (", "is no configuration: SyntaxError"),
        ("import absent_module", "is no configuration: ModuleNotFoundError"),
        ("from training.config import Config\nCONFIG = Config('vgg8', 0, 0.1)", "epochs must be at least 1"),
    ],
)
def test_what_is_no_configuration_is_named(text: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)

    with pytest.raises(TrainingError, match=reason):
        open_config(str(path))
