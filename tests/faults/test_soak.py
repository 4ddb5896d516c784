"""Row 18: faces over gRPC, pictures and videos over REST, and a release every half minute, for as long as is asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from benchmarks.gateway import memory_mib
from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving import ModelRepository, Promoter, publish
from serving.pruning import prune
from tests.callers import Callers, faces
from tests.crowd import Crowd
from tests.faults.pictures import PICTURE, film
from tests.gateways import RunningGateway, running_gateway
from tests.releases import answers, export_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import MakeServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.fault(18)]

RELEASE_EVERY_S = 30.0
GRPC_CALLERS = 4
PICTURE_CALLERS = 2
MAX_GROWTH_MIB = 20.0
WARM_RELEASES = 2
"""Before the memory counts: by then each place in the server has held two versions."""


class RestCallers(Crowd):
    """Post pictures and videos until the end of the block.

    Attributes:
        wrong: answers that are none.
        pictures: how many were answered.
        videos: how many were.
    """

    def __init__(self, gateway: RunningGateway, video: bytes) -> None:
        self.wrong: list[str] = []
        self.pictures = self.videos = 0
        self._gateway = gateway
        self._video = video

    def _tasks(self) -> Sequence[Callable[[], None]]:
        return [*[self._post_pictures] * PICTURE_CALLERS, self._post_videos]

    def _post_pictures(self) -> None:
        with self._gateway.client() as http:
            while not self._stop.is_set():
                if self._is_good(http, "/v1/detect", {"image": ("picture.jpg", PICTURE)}):
                    self.pictures += 1

    def _post_videos(self) -> None:
        with self._gateway.client() as http:
            while not self._stop.wait(1):
                if self._is_good(http, "/v1/detect-video", {"video": ("film.mp4", self._video)}):
                    self.videos += 1

    def _is_good(self, http: httpx.Client, path: str, files: dict[str, tuple[str, bytes]]) -> bool:
        try:
            answer = http.post(path, files=files)
        except httpx.HTTPError as error:
            self.wrong.append(repr(error))
            return False
        if answer.status_code != httpx.codes.OK:
            self.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            return False
        return True


@pytest.mark.timeout(24 * 3600)
def test_mixed_traffic_with_releases(make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures) -> None:
    exports = [export_variant(make_server(tmp_path).settings, tmp_path / f"export-{n}", favour=n) for n in range(7)]
    variants = [answers(export, faces()) for export in exports]
    folder = tmp_path / "gateway"
    folder.mkdir()
    rates = {"DETECT_PER_MINUTE": "10000000", "DETECT_VIDEO_PER_MINUTE": "10000000"}
    memory: list[dict[str, float]] = []
    releases = 0
    with (
        make_server(tmp_path / "state") as server,
        server.control() as control,
        running_gateway(server.endpoint, folder, deadline_s=30, **rates) as gateway,
        EmotionClient(ClientSettings(endpoints=server.endpoint, deadline_s=30)) as client,
    ):
        repository = ModelRepository(server.settings.model_repository)
        promoter = Promoter(repository, EMOTION, control)
        expected = {1: answers(repository.path, faces(), 1)}
        pids = {"server": server.process_id, "gateway": gateway.process.pid}
        end = time.monotonic() + scale.soak_s
        with Callers(client, expected, GRPC_CALLERS) as grpc, RestCallers(gateway, film(tmp_path, 50)) as rest:
            while time.monotonic() < end and not grpc.wrong and not rest.wrong:
                expected[releases + 2] = variants[releases % len(variants)]
                # One of seven exports again is a release of its own only where the one before has been pruned.
                promoter.promote(publish(exports[releases % len(exports)], repository, EMOTION).manifest.release)
                releases += 1
                prune(repository, EMOTION, keep=1)
                time.sleep(max(0.0, min(RELEASE_EVERY_S, end - time.monotonic())))
                memory.append({name: memory_mib(pid) for name, pid in pids.items()})
    warm = memory[min(WARM_RELEASES, len(memory) - 1)]
    growth = {name: max(one[name] for one in memory[WARM_RELEASES:] or memory) - warm[name] for name in warm}
    last = {name: memory[-1][name] - warm[name] for name in warm}
    text = ", ".join(f"{name} {warm[name]:.0f} MiB {last[name]:+.1f} (most {growth[name]:+.1f})" for name in warm)
    figures.add(
        f"{scale.soak_s / 60:g} minutes: {grpc.total:,} calls, {rest.pictures:,} pictures, {rest.videos:,} videos,"
        f" {releases} releases, {len(grpc.wrong) + len(rest.wrong)} errors; {text} since release {WARM_RELEASES + 1}"
    )
    assert not grpc.wrong
    assert not rest.wrong
    assert rest.videos
    assert max(last.values()) < MAX_GROWTH_MIB
