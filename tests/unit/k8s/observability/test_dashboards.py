from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tools import dashboards

if TYPE_CHECKING:
    from tests.unit.k8s.observability.conftest import Promtool

COMPONENT = yaml.safe_load((ROOT / "k8s/observability/kustomization.yaml").read_text())


@pytest.fixture(params=dashboards.DASHBOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dashboards.TARGET / f"{request.param}.json").read_text())
    return content


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_what_is_committed_is_what_the_tables_say(name: str) -> None:
    assert (dashboards.TARGET / f"{name}.json").read_text() == dashboards.render(name), "run python -m tools.dashboards"


def test_the_cluster_gets_every_dashboard() -> None:
    (generated,) = COMPONENT["configMapGenerator"]
    assert {f"dashboards/{name}.json" for name in dashboards.DASHBOARDS} == set(generated["files"])


def test_panels_fill_a_row_and_do_not_overlap(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_query_parses_and_is_of_the_chosen_namespace(board: dict[str, Any], promtool: Promtool) -> None:
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert queries
    for query in queries:
        selectors = re.findall(r"\{[^}]*\}", query)
        assert selectors
        assert all('namespace=~"$namespace"' in selector for selector in selectors), query
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(queries)
    ]
    promtool.check_rules({"groups": [{"name": "queries", "rules": rules}]})
