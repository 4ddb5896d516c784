"""Fixtures of the manifests' tests."""

from __future__ import annotations

import pytest

from tests.unit.k8s.manifests import BUILDS, Object, build, readme_example


@pytest.fixture(scope="session", params=[*BUILDS, "README"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Everything that one overlay applies, or the example in the README, which has all components."""
    if request.param == "README":
        return build(readme_example(tmp_path_factory.mktemp("readme")))
    return build(request.param)


@pytest.fixture(scope="session")
def installed(objects: list[Object]) -> list[Object]:
    """The same, and for what is applied to a cluster that has Mien already, that too."""
    return objects if any(one["kind"] == "Namespace" for one in objects) else [*build("overlays/gpu"), *objects]
