"""A server that runs with a named config set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien import EmotionClient
from mien.contract import EMOTION, FACES
from serving import ServingError
from serving.configuration import write_config_set
from serving.repository import ModelRepository, install_shipped

if TYPE_CHECKING:
    from pathlib import Path

    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from tests.conftest import MakeServer

pytestmark = pytest.mark.integration

CLASSIFIER = EMOTION.members[-1].name


def test_a_server_runs_the_models_of_a_set_as_it_says_and_the_others_as_they_are(
    make_server: MakeServer, tmp_path: Path
) -> None:
    def three_instances(config: ModelConfig) -> None:
        config.instance_group[0].count = 3

    server = make_server(tmp_path, config_set="tuned")
    with pytest.raises(ServingError, match="set 'tuned'"):
        server.start()
    install_shipped(ModelRepository(server.settings.shipped_repository), server.settings.model_repository)
    write_config_set(server.settings.model_repository / CLASSIFIER, "tuned", three_instances)
    with server, server.control() as control, EmotionClient(server.endpoint) as client:
        assert control.instances(CLASSIFIER) == 3
        assert control.instances(EMOTION.members[0].name) == 1
        assert len(client.classify(np.zeros((3, *FACES.shape), np.uint8))) == 3
