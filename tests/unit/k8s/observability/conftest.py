"""Prometheus's own tool on the rules that the cluster gets."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import skip_or_fail
from tests.prometheus import MISSING, is_installed, rules

if TYPE_CHECKING:
    from pathlib import Path


class Promtool:
    """Prometheus's own tool; its complaint is the test's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rules = folder / "rules.yaml"
        self._rules.write_text(yaml.safe_dump(rules()))

    def check_rules(self, others: dict[str, Any] | None = None) -> None:
        """Fail if a rule does not parse; by default those of the cluster."""
        if others is not None:
            self._rules.write_text(yaml.safe_dump(others))
        self._run("check", "rules", str(self._rules))

    def test_rules(
        self, series: dict[str, str], expected: dict[tuple[str, str], list[dict[str, Any]]], every: str
    ) -> None:
        """Fail if the rules do not make what is expected of these series.

        Args:
            series: values of each, in Prometheus's notation of unit tests.
            expected: samples of (query, time since the beginning).
            every: the time between two values.
        """
        test = {
            "interval": every,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": query, "eval_time": at, "exp_samples": samples} for (query, at), samples in expected.items()
            ],
        }
        content = {"rule_files": [str(self._rules)], "evaluation_interval": every, "tests": [test]}
        path = self._folder / "test.yaml"
        path.write_text(yaml.safe_dump(content))
        self._run("test", "rules", str(path))

    def assert_firing(self, series: dict[str, str], alerts: dict[str, set[str]], every: str = "1m") -> None:
        """Fail unless exactly these alerts fire.

        Args:
            series: as of `test_rules`.
            alerts: their names, by time since the beginning.
            every: the time between two values.
        """
        query = 'group by (alertname) (ALERTS{alertstate="firing"})'
        expected = {
            (query, at): [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)]
            for at, names in alerts.items()
        }
        self.test_rules(series, expected, every)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    if not is_installed():
        skip_or_fail(MISSING)
    return Promtool(tmp_path)
