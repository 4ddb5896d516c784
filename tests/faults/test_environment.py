"""Row 16: another locale and time zone, a home that cannot be written, no network, a clock that is set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, skip_or_fail

if TYPE_CHECKING:
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(16)]

LIMIT_S = 280


def errands(folder: Path, *options: object, prefix: tuple[str, ...] = (), **environment: str) -> list[dict[str, str]]:
    """Do all of tests/faults/errands.py in another environment; returns what became of each."""
    folder.mkdir()
    command = [*prefix, sys.executable, "-m", "tests.faults.errands", str(folder), *map(str, options)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"} | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [one for one in told if one["failure"]], "\n".join(one["failure"] for one in told)
    return told


def locale(folder: Path, name: str) -> dict[str, str]:
    """Variables that make a locale of this name count, which need not be installed."""
    source, _, charmap = name.partition(".")
    folder.mkdir()
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales", source).exists():
        skip_or_fail("the sources of locales are missing: Debian's package locales has them")
    subprocess.run(["localedef", "-i", source, "-f", charmap, str(folder / name)], check=True, capture_output=True)
    return {"LOCPATH": str(folder), "LC_ALL": name}


def without_network(home: Path) -> tuple[str, ...]:
    """A command line's beginning: loopback alone, and a home that cannot be written."""
    home.mkdir()
    prepare = f'ip link set lo up && mount -t tmpfs -o ro tmpfs "{home}" && exec "$@"'
    prefix = ("unshare", "--net", "--mount", "sh", "-c", prepare, "sh")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        skip_or_fail("only root may cut a process off from network and home (unshare, ip, mount)")
    return prefix


def test_a_letter_that_the_locale_lacks_ends_no_command(tmp_path: Path, figures: Figures) -> None:
    """The command prints "…" before it finds that there are no data."""
    ended = subprocess.run(
        [sys.executable, "-m", "training", "fit", str(tmp_path / "absent.zip")],
        cwd=ROOT,
        env=os.environ | locale(tmp_path / "locales", "de_DE.ISO-8859-1"),
        capture_output=True,
        encoding="latin-1",
        check=False,
    )
    assert ended.stderr.splitlines()[-1].startswith("Error: "), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "\\u2026" in ended.stdout
    figures.add("ISO-8859-1: a command that prints a letter which is not in it says what it has to say")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_network_and_with_a_home_that_cannot_be_written(
    local_triton: None, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    told = errands(
        tmp_path / "house",
        *(["--train"] if scale.is_full else []),
        prefix=without_network(tmp_path / "home"),
        HOME=str(tmp_path / "home"),
        TZ="Pacific/Chatham",
        **locale(tmp_path / "locales", "de_DE.ISO-8859-1"),
    )
    (command,) = [one["outcome"] for one in told if one["errand"] == "command"]
    assert "MIEN_YUNET_PATH" in command, "the detector that cannot be fetched"
    figures.add(
        f"no network, read-only home, ISO-8859-1, Pacific/Chatham: {len(told)} of {len(told)} errands done"
        f" ({', '.join(one['errand'] for one in told)}); `mien image` names MIEN_YUNET_PATH"
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_where_letters_have_other_capitals(local_triton: None, tmp_path: Path, figures: Figures) -> None:
    away = {"MIEN_DETECTOR": "haar", "TZ": "America/St_Johns"}
    told = errands(tmp_path / "house", **away, **locale(tmp_path / "locales", "tr_TR.UTF-8"))
    figures.add(f"tr_TR.UTF-8, America/St_Johns: {len(told)} of {len(told)} errands done")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_while_the_clock_is_set(local_triton: None, tmp_path: Path, figures: Figures) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        skip_or_fail("a C compiler is missing, for the clock that can be set")
        return
    library, clock = tmp_path / "set_clock.so", tmp_path / "clock"
    source = Path(__file__).with_name("set_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source)], check=True)
    clock.write_bytes(bytes(8))
    variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(clock), "LC_ALL": "C", "MIEN_DETECTOR": "haar"}
    told = errands(tmp_path / "house", "--clock", clock, **variables)
    (refused,) = [one["outcome"] for one in told if one["errand"].startswith("no_release")]
    assert "start it again" in refused
    figures.add(
        f"LC_ALL=C, the clock set 400 days ahead, then 2 days behind, then server and gateway started again:"
        f" {len(told)} of {len(told)} errands done; behind, a server that runs on takes no release, and the command"
        " says at once that it must be started again"
    )
