"""The registry of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import networks
from training.errors import TrainingError

WEIGHTS = Path(__file__).parents[3] / "training" / "weights" / "vgg_half.weights.h5"


def test_the_shipped_weights_fit_the_shipped_network() -> None:
    model = networks.build("vgg_half")
    networks.load_weights(model, WEIGHTS)

    logits = model.predict(np.zeros((3, 48, 48, 1), np.float32), verbose=0)

    assert logits.shape == (3, 7)
    assert logits.dtype == np.float32
    assert model.count_params() == 1_176_359


def test_an_unknown_network_is_named_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"no network 'vgg_quarter'.*vgg_half"):
        networks.build("vgg_quarter")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no weights file"):
        networks.load_weights(networks.build("vgg_half"), tmp_path / "absent.weights.h5")


def test_a_file_that_is_no_weights_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.weights.h5"
    path.write_bytes(b"not HDF5")

    with pytest.raises(TrainingError, match=r"broken\.weights\.h5 does not hold the weights of vgg_half"):
        networks.load_weights(networks.build("vgg_half"), path)
