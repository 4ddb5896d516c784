"""Takes protections out of a copy of the checkout, one at a time, and sees that the row's test turns red.

    python -m tests.faults.selftest            # all of tests/faults/mutations.py
    python -m tests.faults.selftest canary     # those whose name contains the word

The tests that are used are run once without a change first, all together: what is red anyway notices nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2
from typing import TYPE_CHECKING

import pytest

from tests.faults.mutations import MUTATIONS, Mutation
from tests.faults.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = (".venv", ".venv-triton")
PACKAGES = ("mien", "serving", "flows", "training", "tests.faults.rows")
TEST_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Copy:
    """The checkout's files as they are now, in another folder, with the checkout's environments."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Copy:
        """Copy all files that git tracks or would."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
        for name in filter(None, listing.stdout.split("\0")):
            if (ROOT / name).is_file():  # one that was removed is still listed
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                copy2(ROOT / name, folder / name)
        for name in ENVIRONMENTS:
            (folder / name).symlink_to(ROOT / name)
        copy = cls(folder)
        copy.check_imports()
        return copy

    @property
    def environment(self) -> dict[str, str]:
        """In which the copy's packages come before those of the checkout, which are installed in the environment."""
        data = Path(os.environ.get("MIEN_TEST_DATA", "../shared"))
        return os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self.folder / "clients"), str(self.folder)]),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file changed twice within a second would keep its old one
            "MIEN_TEST_DATA": str((ROOT / data).resolve()),
        }

    def check_imports(self) -> None:
        """See that it is the copy that is tested."""
        code = f"import {', '.join(PACKAGES)}, sys; print(*(sys.modules[name].__file__ for name in {PACKAGES}))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        for path in done.stdout.split():
            if not Path(path).is_relative_to(self.folder):
                sys.exit(f"{path} would be tested instead of the copy in {self.folder}.")

    def run(self, mutations: list[Mutation]) -> tuple[int, str]:
        """The exit status of pytest for the tests of mutations at short scale, and what it printed."""
        tests = dict.fromkeys(one.test if "/" in one.test else f"tests/faults/{one.test}" for one in mutations)
        rows = " ".join(sorted({str(one.row) for one in mutations}))
        command = [sys.executable, "-m", "pytest", "-p", "tests.faults.plugin", "--scale", "short"]
        done = subprocess.run(
            [*command, "--rows", rows, "--seed", "1", "-q", "-p", "no:cacheprovider", *tests],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TEST_LIMIT_S * len(tests),
            check=False,
        )
        return done.returncode, done.stdout


def faults(mutations: list[Mutation], copy: Copy) -> Iterator[str]:
    """What is wrong with mutations or tests, in words; what is right is printed."""
    status, output = copy.run(mutations)
    if status != pytest.ExitCode.OK:
        yield f"Without any change a test is red.\n{_tail(output)}"
    for mutation in mutations:
        path = copy.folder / mutation.file
        original = path.read_text(encoding="utf-8")
        if (count := original.count(mutation.text)) != 1:
            yield f"{mutation.name}: the text to take out stands {count} times in {mutation.file}."
            continue
        path.write_text(original.replace(mutation.text, mutation.replacement), encoding="utf-8")
        begin = time.monotonic()
        try:
            status, output = copy.run([mutation])
        finally:
            path.write_text(original, encoding="utf-8")
        if status == pytest.ExitCode.TESTS_FAILED:
            print(
                f"{mutation.name}: row {mutation.row} noticed ({ROWS[mutation.row].fault};"
                f" {time.monotonic() - begin:.0f} s)",
                flush=True,
            )
        else:
            yield (f"{mutation.name}: row {mutation.row} did not notice; pytest ended with {status}.\n{_tail(output)}")


def _tail(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.splitlines()[-15:])


def main() -> int:
    """Run them, and say by the exit status whether all were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="run only mutations whose name contains one of these")
    words = parser.parse_args().words
    chosen = [one for one in MUTATIONS if not words or any(word in one.name for word in words)]
    if not chosen:
        sys.exit(f"No mutation's name contains {' or '.join(words)}.")
    with tempfile.TemporaryDirectory(prefix="mien-mutated-") as folder:
        found = []
        for fault in faults(chosen, Copy.make(Path(folder))):
            print(f"FAULT: {fault}", file=sys.stderr, flush=True)
            found.append(fault)
    print(f"{len(chosen)} mutations, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
