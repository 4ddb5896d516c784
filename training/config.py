"""An experiment's configuration: small typed values, checked when they are made."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from training import configs
from training.augmentation import AugmentationConfig
from training.errors import TrainingError
from training.speech_augmentation import SpeechAugmentation  # noqa: TC001 - search spaces read the annotations

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Teacher:
    """A trained network that another learns from: its name and its weights file."""

    network: str
    weights: Path


@dataclass(frozen=True)
class Distillation:
    """Learning from teachers' probabilities (Hinton et al., 2015).

    Attributes:
        teachers: their mean is what is learnt; they see the same augmented view.
        temperature: softens both sides.
        weight: of the teachers against the labels, 0..1.
    """

    teachers: tuple[Teacher, ...]
    temperature: float = 2.0
    weight: float = 0.8


@dataclass(frozen=True)
class Plateau:
    """Reduces the learning rate when the validation loss has not fallen for `patience` epochs."""

    factor: float = 0.2
    patience: int = 4
    floor: float = 1e-6


@dataclass(frozen=True)
class Stage:
    """A part of the training, with an optimizer and a schedule of its own: which layers learn, and how fast.

    Attributes:
        epoch: its first, counted from 0; it ends where the next stage begins.
        trainable: how the names of the layers that learn begin, such as ``conv5``; None lets all learn. The others are
            frozen, and their batch normalization runs as in use.
        rate: times the configuration's learning rate.
    """

    epoch: int = 0
    trainable: tuple[str, ...] | None = None
    rate: float = 1.0


@dataclass(frozen=True)
class Config:
    """One experiment.

    Attributes:
        network: name in `training.networks`.
        dropout: the network's dropout rate.
        epochs: passes over the training faces.
        batch_size: faces a step.
        optimizer: ``sgd`` (Nesterov, momentum 0.9), ``adam`` or ``adamw``.
        learning_rate: its peak.
        schedule: ``cosine``, down to zero after the warm-up, or ``constant``.
        warmup_epochs: epochs of linear rise to the peak; with ``cosine``.
        weight_decay: decoupled (each step takes rate x decay off the kernels), so about ten times what is added to
            the gradient of an optimizer with momentum 0.9.
        ema: momentum of the weights' moving average, which is what is evaluated and kept; None turns it off.
        label_smoothing: share of the target spread over all classes.
        class_weights: weigh faces by the inverse frequency of their class.
        augmentation: changes to the faces, or to the voices.
        distillation: teachers, if any.
        plateau: reduction of the learning rate; with ``constant``.
        patience: epochs without a better validation accuracy before it stops; None never stops early. Counted in the
            last stage only.
        pretrained: what it starts from: ``imagenet`` downloads Keras' weights for the network's base, a path names
            that file (``….h5``) or the weights of the whole network (``….weights.h5``); None starts from nothing.
        held_out: share of the training faces that nothing is fitted to but the temperature, with which the network is
            exported; 0 fits to all of them and exports as it is.
        stages: which layers learn when; schedule and warm-up begin anew with each.
        precision: Keras' dtype policy; ``mixed_bfloat16`` for GPUs.
        steps_per_execution: steps that the backend runs in one call, where it can.
        compile_xla: compile with XLA under TensorFlow; JAX always does.
        keep: which epoch's weights are kept: the ``best`` on the validation split, or the ``last``, so that nothing is
            chosen by that split.
        seed: of weights, order and augmentation.
    """

    network: str
    epochs: int
    learning_rate: float
    dropout: float = 0.2
    batch_size: int = 128
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    ema: float | None = 0.999
    label_smoothing: float = 0.0
    class_weights: bool = False
    augmentation: AugmentationConfig | SpeechAugmentation = field(default_factory=AugmentationConfig)
    distillation: Distillation | None = None
    plateau: Plateau | None = None
    patience: int | None = None
    pretrained: Literal["imagenet"] | Path | None = None
    held_out: float = 0.0
    stages: tuple[Stage, ...] = (Stage(),)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    steps_per_execution: int = 1
    compile_xla: bool = False
    keep: Literal["best", "last"] = "best"
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs must be at least 1": self.epochs >= 1,
            "batch_size must be at least 1": self.batch_size >= 1,
            "learning_rate must be positive": self.learning_rate > 0,
            "dropout must be in 0..1": 0 <= self.dropout < 1,
            "ema must be in 0..1": self.ema is None or 0 < self.ema < 1,
            "held_out must be in 0..0.5": 0 <= self.held_out <= 0.5,
            "label_smoothing must be in 0..1": 0 <= self.label_smoothing < 1,
            "the stages' epochs must begin at 0 and rise to less than epochs": min(self.stage_lengths()) > 0,
            "warmup_epochs must be less than epochs, and than each stage's": (
                0 <= self.warmup_epochs < min(self.stage_lengths())
            ),
            "the rate of a stage must be positive": all(stage.rate > 0 for stage in self.stages),
            "a stage must let a layer learn": all(stage.trainable != () for stage in self.stages),
            "plateau needs the constant schedule": self.plateau is None or self.schedule == "constant",
            "distillation needs a teacher": self.distillation is None or bool(self.distillation.teachers),
        }
        for rule, kept in checks.items():
            if not kept:
                message = f"The configuration of {self.network} is wrong: {rule}."
                raise TrainingError(message)

    def stage_lengths(self) -> list[int]:
        """Epochs of each stage; one that is not positive is a mistake, as is a first stage that does not begin at 0."""
        begins = [stage.epoch for stage in self.stages]
        return [end - begin for begin, end in pairwise([*begins, self.epochs])] if begins[:1] == [0] else [0]

    def as_json(self) -> dict[str, Any]:
        """The configuration as JSON values, for a run's record and the manifest."""
        values = asdict(self)
        if self.pretrained is not None:
            values["pretrained"] = str(self.pretrained)
        if self.distillation:
            values["distillation"]["teachers"] = [
                {"network": teacher.network, "weights": str(teacher.weights)} for teacher in self.distillation.teachers
            ]
        return values


def available() -> list[str]:
    """Names of the configurations in `training.configs`."""
    return sorted(module.name for module in pkgutil.iter_modules(configs.__path__))


def load_config(name: str) -> Config:
    """The configuration of the module `name` in `training.configs`.

    Raises:
        TrainingError: there is none of that name.
    """
    if name not in available():
        message = f"There is no configuration {name!r}. There are: {', '.join(available())}."
        raise TrainingError(message)
    config = importlib.import_module(f"training.configs.{name}").CONFIG
    if not isinstance(config, Config):
        message = f"CONFIG of training/configs/{name}.py is not a Config."
        raise TrainingError(message)
    return config
