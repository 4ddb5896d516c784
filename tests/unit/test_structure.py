"""The arrows between the packages, and the names that must not be used."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "mien": ROOT / "clients/mien",
    "training": ROOT / "training",
    "serving": ROOT / "serving",
    "flows": ROOT / "flows",
    "loadtest": ROOT / "loadtest",
}
# What each package may import of the others; "mien" alone means all of the SDK.
ALLOWED = {
    "mien": set[str](),
    "training": {"mien.contract", "mien.errors", "mien.output"},
    "serving": {"mien.channel", "mien.contract", "mien.errors", "mien.output", "mien.settings"},
    "flows": {"mien", "training", "serving"},
    "loadtest": {"mien"},
}


def imported_modules(source: Path) -> set[str]:
    tree = ast.parse(source.read_text())
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from mien import errors` imports mien.errors as much as `import mien.errors` does.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module in SOURCES else {node.module}
    return modules


@pytest.mark.parametrize("package", [name for name, folder in SOURCES.items() if folder.is_dir()])
def test_a_package_imports_only_what_its_arrows_allow(package: str) -> None:
    others = SOURCES.keys() - {package}
    forbidden = {
        f"{source.relative_to(ROOT)} imports {module}"
        for source in SOURCES[package].rglob("*.py")
        for module in imported_modules(source)
        if module.partition(".")[0] in others
        if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in ALLOWED[package])
    }
    assert not forbidden


def test_no_module_shadows_the_one_that_tritons_stub_imports() -> None:
    # The stub appends its folder to the path and runs `import model`: one earlier on the path would win.
    named_model = {path.relative_to(ROOT) for folder in SOURCES.values() for path in folder.rglob("model.py")}
    assert {path.parts[:2] for path in named_model} <= {("serving", "backends")}


def test_nothing_in_flows_is_called_like_a_package() -> None:
    # Prefect puts the folder of a flow's file on the path ahead: a `flows/prefect` or a `flows/feedback/redis.py`
    # would win.
    taken = {*packages_distributions(), *sys.stdlib_module_names, *SOURCES}
    modules = [path for path in SOURCES["flows"].rglob("*") if path.is_dir() or path.suffix == ".py"]
    assert not [path.relative_to(ROOT) for path in modules if path.stem in taken]
