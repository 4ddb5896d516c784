"""The classifier's batches on a GPU: the same answers at the server and in process, and figures of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.gpu import GpuMissingError, compare
from benchmarks.serving import graphs

if TYPE_CHECKING:
    from serving import TritonServer

pytestmark = [pytest.mark.gpu, pytest.mark.integration]


def test_the_server_answers_batches_as_cuda_in_process_does(triton: TritonServer) -> None:
    _, classifier = graphs(triton.settings.model_repository)
    try:
        figures = compare(triton.endpoint, classifier, rounds=3, seconds=2)
    except GpuMissingError as error:
        pytest.skip(str(error))
    print(figures.values)
    assert all(ratio > 0 for ratio in figures.values["server / in process"])
