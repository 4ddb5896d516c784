"""Publishing, promoting and rolling back on a real Triton, under load and with everything that can go wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien import ClientSettings, EmotionClient, ModelNotFoundError
from mien.contract import EMOTION, EMOTION_CLASSIFIER
from serving import Ledger, ModelRepository, Promoter, PromotionError, PublishError, RepositoryError, publish
from serving.promotion import candidate_release
from serving.pruning import prune
from serving.repository import install_shipped
from tests.callers import calling, faces
from tests.conftest import server_settings
from tests.killed import promote_and_die, publish_and_die
from tests.releases import answers, export_variant, seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil

pytestmark = pytest.mark.integration


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Iterator[TritonServer]:
    with make_server(tmp_path / "state") as server:
        yield server


@pytest.fixture
def repository(server: TritonServer) -> ModelRepository:
    return ModelRepository(server.settings.model_repository)


@pytest.fixture
def unserved(tmp_path: Path) -> ModelRepository:
    """A working copy that no server runs on."""
    shipped = ModelRepository(server_settings(tmp_path).shipped_repository)
    return install_shipped(shipped, tmp_path / "repository")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return export_variant(server_settings(tmp_path), tmp_path / "export", favour=3)


@pytest.fixture
def promoter(server: TritonServer, repository: ModelRepository) -> Iterator[Promoter]:
    with server.control() as control:
        yield Promoter(repository, EMOTION, control)


@pytest.fixture
def client(server: TritonServer) -> Iterator[EmotionClient]:
    with EmotionClient(ClientSettings(endpoints=server.endpoint, deadline_s=60)) as client:
        yield client


def test_a_published_release_is_served_after_its_promotion_and_left_by_a_rollback(
    promoter: Promoter, repository: ModelRepository, export: Path, client: EmotionClient
) -> None:
    publication = publish(export, repository, EMOTION)
    assert (publication.manifest.release, publication.is_new) == (2, True)
    assert client.classify(faces()).model_versions == ("1",) * 3
    promoter.promote(2, reason="better")
    answer = client.classify(faces())
    assert answer.model_versions == ("2",) * 3
    np.testing.assert_allclose(answer.probabilities, answers(export, faces()), atol=1e-5)
    promoter.rollback()
    assert client.classify(faces()).model_versions == ("1",) * 3
    assert [(entry.action, entry.release) for entry in Ledger(repository.path).history("emotion")] == [
        ("promote", 2),
        ("rollback", 1),
    ]
    with pytest.raises(PromotionError, match="No release of emotion was served before 1"):
        promoter.rollback()


def test_a_restarted_server_serves_what_was_promoted(
    server: TritonServer,
    promoter: Promoter,
    repository: ModelRepository,
    export: Path,
    client: EmotionClient,
    wait_until: WaitUntil,
) -> None:
    publish(export, repository, EMOTION)
    promoter.promote(2)
    server.restart()
    wait_until(client.is_ready)
    assert client.classify(faces()).model_versions == ("2",) * 3
    promoter.rollback()
    assert client.classify(faces()).model_versions == ("1",) * 3


def test_what_is_published_already_keeps_its_number(unserved: ModelRepository, export: Path) -> None:
    first, again = publish(export, unserved, EMOTION), publish(export, unserved, EMOTION)
    assert (again.manifest.release, again.is_new) == (first.manifest.release, False)


def test_publishers_at_once_get_a_number_each(unserved: ModelRepository, tmp_path: Path) -> None:
    settings = server_settings(tmp_path)
    exports = [export_variant(settings, tmp_path / f"export{label}", favour=label) for label in range(4)]
    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(lambda folder: publish(folder, unserved, EMOTION), exports))
    assert sorted(publication.manifest.release for publication in published) == [2, 3, 4, 5]
    for number in range(2, 6):
        unserved.verify_release(EMOTION, number)
    assert prune(unserved, EMOTION, keep=0) == [2, 3]
    assert unserved.releases(EMOTION) == [1, 4, 5]


def test_a_damaged_export_is_refused(unserved: ModelRepository, export: Path) -> None:
    path = export / EMOTION_CLASSIFIER.name / "1/model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RepositoryError, match=r"model\.onnx is damaged"):
        publish(export, unserved, EMOTION)
    assert unserved.releases(EMOTION) == [1]


def test_a_release_that_does_not_load_leaves_the_other_serving(
    promoter: Promoter, repository: ModelRepository, export: Path, client: EmotionClient
) -> None:
    (export / EMOTION_CLASSIFIER.name / "1/model.onnx").write_bytes(b"no model, but the manifest says so too")
    seal(export)
    publish(export, repository, EMOTION)
    with calling(client, repository, 1), pytest.raises(PromotionError, match="1 is still served"):
        promoter.promote(2)
    assert repository.pointer(EMOTION).release == 1
    assert client.is_ready()


def test_a_release_that_answers_otherwise_than_in_training_is_not_promoted(
    promoter: Promoter, repository: ModelRepository, export: Path, client: EmotionClient
) -> None:
    shipped = repository.path / EMOTION.name / "1/golden.npz"
    (export / EMOTION.name / "1/golden.npz").write_bytes(shipped.read_bytes())
    seal(export)
    publish(export, repository, EMOTION)
    with calling(client, repository, 1), pytest.raises(PromotionError, match="The canary failed"):
        promoter.promote(2)
    assert repository.pointer(EMOTION).release == 1


def test_a_release_damaged_after_its_publication_is_not_promoted(
    promoter: Promoter, repository: ModelRepository, export: Path, client: EmotionClient
) -> None:
    publish(export, repository, EMOTION)
    (repository.path / EMOTION_CLASSIFIER.name / "2/model.onnx").write_bytes(b"")
    with pytest.raises(RepositoryError, match="is damaged"):
        promoter.promote(2)
    assert client.classify(faces()).model_versions == ("1",) * 3


def test_a_damaged_release_beside_the_one_pinned_does_not_keep_a_server_from_starting(
    server: TritonServer, promoter: Promoter, repository: ModelRepository, export: Path
) -> None:
    publish(export, repository, EMOTION)
    promoter.promote(2)
    promoter.rollback()
    (repository.path / EMOTION_CLASSIFIER.name / "2/model.onnx").write_bytes(b"damaged")
    server.restart()
    with server.control() as control:
        assert control.infer_zeros(EMOTION) == 1
    assert Ledger(repository.path).predecessor("emotion", 1) is None


def test_a_candidates_trial_ends_with_its_server(
    server: TritonServer, promoter: Promoter, repository: ModelRepository, export: Path
) -> None:
    publish(export, repository, EMOTION)
    promoter.offer(2)
    server.restart()
    assert candidate_release(repository, EMOTION) is None
    promoter.withdraw()


def test_a_server_that_is_down_changes_nothing(
    server: TritonServer, promoter: Promoter, repository: ModelRepository, export: Path
) -> None:
    publish(export, repository, EMOTION)
    server.stop()
    with pytest.raises(PromotionError, match="1 is still served"):
        promoter.promote(2)
    assert repository.pointer(EMOTION).release == 1


def test_a_candidate_is_served_beside_the_release(
    promoter: Promoter, repository: ModelRepository, export: Path, server: TritonServer, client: EmotionClient
) -> None:
    publish(export, repository, EMOTION)
    assert promoter.offer(2) == "emotion_candidate"
    with EmotionClient(ClientSettings(endpoints=server.endpoint, model="emotion_candidate", retry_attempts=1)) as trial:
        np.testing.assert_allclose(trial.classify(faces()).probabilities, answers(export, faces()), atol=1e-5)
        assert client.classify(faces()).model_versions == ("1",) * 3
        promoter.promote(2)
        promoter.withdraw()
        with pytest.raises(ModelNotFoundError):
            trial.classify(faces())
    assert client.classify(faces()).model_versions == ("2",) * 3


@pytest.mark.parametrize("step", [1, 4])
def test_a_killed_publisher_leaves_no_half_release(unserved: ModelRepository, export: Path, step: int) -> None:
    assert publish_and_die(export, unserved, step)
    assert unserved.releases(EMOTION) == [1]
    assert publish(export, unserved, EMOTION).manifest.release == 2
    assert unserved.verify_release(EMOTION, 2)
    left = {path.name for path in (unserved.path / ".releases").iterdir()}
    assert left == {"lock"}


@pytest.mark.parametrize("step", [1, 9, 10, 11])
def test_a_killed_promoter_changes_nothing_for_good(
    server: TritonServer,
    repository: ModelRepository,
    export: Path,
    promoter: Promoter,
    client: EmotionClient,
    step: int,
    wait_until: WaitUntil,
) -> None:
    publish(export, repository, EMOTION)
    with calling(client, repository, 2):
        assert promote_and_die(server, step)
    server.restart()
    wait_until(client.is_ready)  # its connection waits a moment before it tries again
    assert client.classify(faces()).model_versions == ("1",) * 3
    assert promoter.promote(2).entry.previous == 1
    assert client.classify(faces()).model_versions == ("2",) * 3


def test_a_repository_says_which_releases_it_has(promoter: Promoter) -> None:
    with pytest.raises(RepositoryError, match=r"There is no release 7 of emotion in .*; there are \[1\]"):
        promoter.promote(7)


def test_an_export_of_several_releases_is_refused(unserved: ModelRepository, export: Path) -> None:
    manifest = json.loads((export / "emotion/1/manifest.json").read_text())
    (export / "emotion/2").mkdir()
    (export / "emotion/2/manifest.json").write_text(json.dumps(manifest | {"release": 2}))
    with pytest.raises(PublishError, match="holds 2 releases of emotion"):
        publish(export, unserved, EMOTION)
