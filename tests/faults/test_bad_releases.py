"""Row 2: releases that are damaged or wrong in every way we know, published while callers ask."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION, EMOTION_CLASSIFIER, EMOTION_PREPROCESS
from serving import ModelRepository, Promoter, ServingError, publish
from tests.callers import CALLERS, calling
from tests.conftest import server_settings
from tests.releases import export_variant, seal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(2)]

GRAPH = f"{EMOTION_CLASSIFIER.name}/1/model.onnx"


def truncate(export: Path, chance: random.Random) -> None:
    content = (export / GRAPH).read_bytes()
    (export / GRAPH).write_bytes(content[: chance.randrange(len(content))])


def flip_bytes(export: Path, chance: random.Random) -> None:
    content = bytearray((export / GRAPH).read_bytes())
    for _ in range(chance.randint(1, 20)):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    (export / GRAPH).write_bytes(content)


def remove_a_file(export: Path, chance: random.Random) -> None:
    manifest = json.loads((export / EMOTION.name / "1/manifest.json").read_text())
    (export / chance.choice(sorted(manifest["files"]))).unlink()


def lie_in_the_manifest(export: Path, chance: random.Random) -> None:
    path = export / EMOTION.name / "1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][chance.choice(sorted(manifest["files"]))] = f"{chance.getrandbits(256):064x}"
    path.write_text(json.dumps(manifest))


def cut_short_and_seal(export: Path, chance: random.Random) -> None:
    truncate(export, chance)
    seal(export)


def write_nonsense_and_seal(export: Path, chance: random.Random) -> None:
    (export / GRAPH).write_bytes(chance.randbytes(5000))
    seal(export)


def answer_eight_classes_and_seal(export: Path, chance: random.Random) -> None:
    """The last layer gets a column more, as of a network for other labels."""
    graph = onnx.load(export / GRAPH)
    for tensor in graph.graph.initializer:
        if list(tensor.dims)[-1:] == [7]:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([values, values[..., :1]], -1), tensor.name))
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    onnx.save(graph, export / GRAPH)
    seal(export)


def swap_members_and_seal(export: Path, chance: random.Random) -> None:
    """The preprocessing's graph where the classifier's should be: other shapes at both ends."""
    shutil.copy(export / EMOTION_PREPROCESS.name / "1/model.onnx", export / GRAPH)
    seal(export)


def answer_nan_and_seal(export: Path, chance: random.Random) -> None:
    graph = onnx.load(export / GRAPH)
    for bias in [tensor for tensor in graph.graph.initializer if list(tensor.dims) == [7]]:
        bias.CopyFrom(numpy_helper.from_array(np.full(7, np.nan, np.float32), bias.name))
    onnx.save(graph, export / GRAPH)
    seal(export)


def answer_otherwise_and_seal(export: Path, chance: random.Random) -> None:
    """Golden faces whose answers are another network's."""
    golden = export / EMOTION.name / "1/golden.npz"
    with np.load(golden) as content:
        np.savez_compressed(golden, **{**content, "probabilities": content["probabilities"][:, ::-1]})
    seal(export)


DAMAGED = (truncate, flip_bytes, remove_a_file, lie_in_the_manifest)
"""What the manifest's digests find."""
WRONG = (
    cut_short_and_seal,
    write_nonsense_and_seal,
    answer_eight_classes_and_seal,
    swap_members_and_seal,
    answer_nan_and_seal,
    answer_otherwise_and_seal,
)
"""With digests that are right: only the server and the canary can find it."""


@pytest.mark.timeout(600)
def test_bad_releases_under_load_are_refused(
    make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    chance = scale.chance("bad releases")
    harms: list[Callable[[Path, random.Random], None]] = [*DAMAGED * scale.of(full=8, short=1), *WRONG]
    harms += [cut_short_and_seal] * scale.of(full=4, short=0)
    good = export_variant(server_settings(tmp_path), tmp_path / "good", favour=3)
    served: list[str] = []
    with make_server(tmp_path / "state") as server, server.control() as control:
        repository = ModelRepository(server.settings.model_repository)
        promoter = Promoter(repository, EMOTION, control)
        settings = ClientSettings(endpoints=server.endpoint, deadline_s=60)
        with EmotionClient(settings) as client:
            with calling(client, repository, 1) as callers:
                for number, harm in enumerate(harms):
                    export = tmp_path / f"bad-{number}"
                    shutil.copytree(good, export)
                    harm(export, chance)
                    try:
                        promoter.promote(publish(export, repository, EMOTION).manifest.release)
                    except ServingError as error:
                        print(f"{harm.__name__}: {error}")
                    else:
                        served.append(harm.__name__)
                        break  # callers would be told so for as long as it is served
                    assert repository.pointer(EMOTION).release == 1
                    assert client.is_ready()
            # And the good one, after all of them.
            last = publish(good, repository, EMOTION).manifest.release
            if not served:
                promoter.promote(last)
                assert client.classify(EMOTION.input.zeros(1)).model_versions == (str(last),)
    figures.add(
        f"{len(harms)} bad releases of {len({*DAMAGED, *WRONG})} kinds under {CALLERS} callers: {len(served)} served,"
        f" {len(callers.wrong)} lost of {callers.total:,}; ready after each; a good one is served then"
    )
    assert not served
