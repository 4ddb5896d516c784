"""Configurations as Python files outside `training.configs`: what a search found, or one's own experiments."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import Config, load_config
from training.errors import TrainingError

if TYPE_CHECKING:
    from dataclasses import Field

_SUFFIX = ".py"


def open_config(reference: str) -> Config:
    """The configuration of a module of `training.configs`, by name, or of a Python file, by a path that ends in .py.

    Raises:
        TrainingError: there is none, or the file defines none.
    """
    return _read(Path(reference)) if reference.endswith(_SUFFIX) else load_config(reference)


def source(config: Config, docstring: str) -> str:
    """A Python file that defines `config` as ``CONFIG``; what has its default value is left out.

    Args:
        config: the configuration.
        docstring: the file's, of one line or several.
    """
    named: set[type] = set()
    value = _expression(config, named)
    by_module: dict[str, list[str]] = {}
    for kind in named:
        # A concrete path's own module is private, and its class depends on the system.
        module, name = ("pathlib", "Path") if issubclass(kind, Path) else (kind.__module__, kind.__name__)
        by_module.setdefault(module, []).append(name)
    imports = [f"from {module} import {', '.join(sorted(set(names)))}" for module, names in sorted(by_module.items())]
    quoted = docstring.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return f'"""{quoted}\n"""\n\n' + "\n".join(imports) + f"\n\nCONFIG = {value}\n"


def _read(path: Path) -> Config:
    if not path.is_file():
        message = f"There is no configuration file {path}."
        raise TrainingError(message)
    spec = importlib.util.spec_from_file_location(f"configuration_{path.stem}", path)
    if spec is None or spec.loader is None:
        message = f"{path} cannot be read as Python."
        raise TrainingError(message)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except TrainingError:
        raise
    except Exception as error:
        message = f"{path} is no configuration: {type(error).__name__}: {error}."
        raise TrainingError(message) from error
    config = getattr(module, "CONFIG", None)
    if not isinstance(config, Config):
        message = f"{path} defines no CONFIG = Config(…)."
        raise TrainingError(message)
    return config


def _expression(value: object, named: set[type], indent: str = "") -> str:
    """Python that makes `value`; the classes it names are added to `named`."""
    inner = indent + "    "
    if is_dataclass(value) and not isinstance(value, type):
        named.add(type(value))
        given = {field.name: getattr(value, field.name) for field in fields(value)}
        changed = [field.name for field in fields(value) if given[field.name] != _default(field)]
        lines = [f"{inner}{name}={_expression(given[name], named, inner)},\n" for name in changed]
        return f"{type(value).__name__}(" + (f"\n{''.join(lines)}{indent})" if lines else ")")
    if isinstance(value, tuple):
        lines = [f"{inner}{_expression(item, named, inner)},\n" for item in value]
        return f"(\n{''.join(lines)}{indent})" if lines else "()"
    if isinstance(value, Path):
        named.add(Path)
        return f"Path({str(value)!r})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()
