"""What Triton itself counts: executions and the time in them, for each model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tritonclient.grpc import InferenceServerClient


@dataclass(frozen=True, slots=True)
class ModelCounters:
    """What a model has done since its load, or between two looks.

    Attributes:
        faces: answered.
        executions: batches run.
        busy_s: time in the backend, over all batches.
        requests: answered.
        queue_s: time that requests waited for a batch, over all requests.
    """

    faces: int
    executions: int
    busy_s: float
    requests: int
    queue_s: float

    def since(self, before: ModelCounters) -> Self:
        """The difference to an earlier look."""
        return type(self)(
            self.faces - before.faces,
            self.executions - before.executions,
            self.busy_s - before.busy_s,
            self.requests - before.requests,
            self.queue_s - before.queue_s,
        )

    @property
    def faces_per_batch(self) -> float:
        """Mean size of a batch."""
        return self.faces / self.executions

    @property
    def busy_ms(self) -> float:
        """Mean time of a batch in the backend."""
        return self.busy_s / self.executions * 1e3

    @property
    def queue_ms(self) -> float:
        """Mean time of a request in the queue."""
        return self.queue_s / self.requests * 1e3


def model_counters(endpoint: str) -> dict[str, ModelCounters]:
    """The counters of every loaded model that runs in a backend."""
    client = InferenceServerClient(endpoint)
    try:
        statistics = client.get_inference_statistics().model_stats
    finally:
        client.close()
    return {
        model.name: ModelCounters(
            model.inference_count,
            model.execution_count,
            sum(size.compute_infer.ns for size in model.batch_stats) / 1e9,
            model.inference_stats.success.count,
            model.inference_stats.queue.ns / 1e9,
        )
        for model in statistics
        if model.batch_stats
    }
