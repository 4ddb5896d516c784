"""A search space: which fields of a configuration are tried, and over which values; checked when it is made."""

from __future__ import annotations

import importlib
import math
import pkgutil
import types
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from training import spaces
from training.config import Config
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

_UNIONS = (Union, types.UnionType)

Scalar = bool | int | float | str | None

_FIXED = {
    "epochs": "every trial has the same number",
    "seed": "one seed is not better than another",
}


@dataclass(frozen=True)
class Float:
    """Any number from `low` to `high`; `log` draws evenly over the orders of magnitude."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    @property
    def examples(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return float(self.low), float(self.high)

    def suggest(self, trial: optuna.Trial, field: str) -> Scalar:
        """The trial's value for `field`."""
        return trial.suggest_float(field, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Int:
    """Any whole number from `low` to `high`; `log` draws evenly over the orders of magnitude."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    @property
    def examples(self) -> tuple[Scalar, ...]:
        """Both ends."""
        return self.low, self.high

    def suggest(self, trial: optuna.Trial, field: str) -> Scalar:
        """The trial's value for `field`."""
        return trial.suggest_int(field, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Choice:
    """One of `values`, which have no order."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2 or len(set(self.values)) < len(self.values):
            message = f"{self} is no choice. Give it two or more different values."
            raise TrainingError(message)
        strange = [value for value in self.values if not isinstance(value, Scalar)]
        if strange:
            message = f"{self} holds {strange[0]!r}. A search chooses among numbers, words, True, False and None."
            raise TrainingError(message)

    @property
    def examples(self) -> tuple[Scalar, ...]:
        """All values."""
        return self.values

    def suggest(self, trial: optuna.Trial, field: str) -> Scalar:
        """The trial's value for `field`."""
        return trial.suggest_categorical(field, self.values)


Parameter = Float | Int | Choice


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        parameters: values by field of `Config`; a dot leads into a part of it, as in ``augmentation.shift``.

    Raises:
        TrainingError: there is no such field, or the field cannot take such values.
    """

    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if not self.parameters:
            message = "The search space is empty. Name at least one field of the configuration."
            raise TrainingError(message)
        for field, parameter in self.parameters.items():
            if field in _FIXED:
                message = f"The search space may not hold {field!r}: {_FIXED[field]}."
                raise TrainingError(message)
            hint = _hint(field)
            wrong = [value for value in parameter.examples if not _accepts(hint, value)]
            if wrong:
                message = f"The search space's {field!r} cannot be {wrong[0]!r}: it is {_name(hint)}."
                raise TrainingError(message)

    def check(self, base: Config) -> None:
        """Refuse a base that a value of the space would break, before hours have gone into it.

        Raises:
            TrainingError: which value, and why.
        """
        for field, parameter in self.parameters.items():
            for value in parameter.examples:
                try:
                    configure(base, {field: value})
                except TrainingError as error:
                    message = f"The search space does not fit the configuration: with {field} = {value!r}: {error}"
                    raise TrainingError(message) from error

    def suggest(self, trial: optuna.Trial) -> dict[str, Scalar]:
        """A trial's values by field."""
        return {field: parameter.suggest(trial, field) for field, parameter in self.parameters.items()}

    def as_json(self) -> dict[str, Any]:
        """The space as JSON values."""
        return {
            field: {"kind": type(parameter).__name__.lower(), **vars(parameter)}
            for field, parameter in self.parameters.items()
        }


def configure(base: Config, values: Mapping[str, Scalar]) -> Config:
    """`base` with `values` in place of its own.

    Raises:
        TrainingError: the configuration would make no sense, or has no part that a dotted field leads into.
    """
    own = {field: value for field, value in values.items() if "." not in field}
    parts: dict[str, dict[str, Scalar]] = {}
    for field, value in values.items():
        part, dot, name = field.partition(".")
        if dot:
            parts.setdefault(part, {})[name] = value
    changed: dict[str, Any] = dict(own)
    for part, inner in parts.items():
        if getattr(base, part) is None:
            message = f"The configuration of {base.network} has no {part}, so {part}.{next(iter(inner))} means nothing."
            raise TrainingError(message)
        absent = next((name for name in inner if not hasattr(getattr(base, part), name)), None)
        if absent:
            message = f"The {part} of {base.network} has no {absent}: the space is for networks of another kind."
            raise TrainingError(message)
        changed[part] = replace(getattr(base, part), **inner)
    return replace(base, **changed)


def available() -> list[str]:
    """Names of the spaces in `training.spaces`."""
    return sorted(module.name for module in pkgutil.iter_modules(spaces.__path__))


def load_space(name: str) -> Space:
    """The space of the module `name` in `training.spaces`.

    Raises:
        TrainingError: there is none of that name.
    """
    if name not in available():
        message = f"There is no search space {name!r}. There are: {', '.join(available())}."
        raise TrainingError(message)
    space = importlib.import_module(f"training.spaces.{name}").SPACE
    if not isinstance(space, Space):
        message = f"SPACE of training/spaces/{name}.py is not a Space."
        raise TrainingError(message)
    return space


def _check_range(parameter: Float | Int) -> None:
    low, high = parameter.low, parameter.high
    rules = {
        "low and high must be finite": math.isfinite(low) and math.isfinite(high),
        "low must be less than high": low < high,
        "a logarithmic range must begin above 0": not parameter.log or low > 0,
    }
    for rule, kept in rules.items():
        if not kept:
            message = f"{parameter} is no range: {rule}."
            raise TrainingError(message)


def _hint(field: str) -> object:
    """Type of a field of `Config`, by its dotted name."""
    owners: list[Any] = [Config]
    walked = ""
    hint: object = Config
    for name in field.split("."):
        # Config's module imports Path for the type checker alone.
        hints: dict[str, object] = {}
        for owner in owners:
            hints |= get_type_hints(owner, localns={"Path": Path})
        if name not in hints:
            known = f"It has: {', '.join(hints)}." if hints else "It has no parts."
            message = f"The search space names {field!r}, but there is no {name!r} in {walked or 'Config'}. {known}"
            raise TrainingError(message)
        hint = hints[name]
        options = get_args(hint) if get_origin(hint) in _UNIONS else (hint,)
        owners, walked = [option for option in options if is_dataclass(option)], f"{walked}.{name}".lstrip(".")
    return hint


def _accepts(hint: object, value: Scalar) -> bool:
    options: Sequence[object] = get_args(hint)
    if get_origin(hint) is Literal:
        return value in options
    if get_origin(hint) in _UNIONS:
        return any(_accepts(option, value) for option in options)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _name(hint: object) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)
