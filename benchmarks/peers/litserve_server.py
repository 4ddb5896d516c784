"""LitServe (Lightning) with the two graphs: raw bytes in, raw bytes out, batches made by LitServe."""
# No `from __future__ import annotations`: LitServe hands the annotations to FastAPI.

from typing import Annotated

import litserve
import numpy as np
from fastapi import Body, Response
from numpy.typing import NDArray

from benchmarks.peers.arguments import Arguments
from benchmarks.peers.onnx_pair import OnnxPair
from benchmarks.peers.payload import faces_of

Faces = NDArray[np.uint8]
Rows = NDArray[np.float32]


class Emotion(litserve.LitAPI):  # type: ignore[misc]
    """The two graphs as LitServe calls them; a batch is a list of the requests' faces."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(max_batch_size=arguments.batch, batch_timeout=0.0, api_path="/classify")
        self._arguments = arguments

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe names it)
        """Open the sessions, in each worker."""
        self._pair = OnnxPair(self._arguments.preprocess, self._arguments.classifier, self._arguments.threads)

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Faces:
        """A body to its faces."""
        return faces_of(request)

    def batch(self, inputs: list[Faces]) -> tuple[Faces, list[int]]:
        """Requests to one array, and where each one ends."""
        return np.concatenate(inputs), [*np.cumsum([len(faces) for faces in inputs])[:-1]]

    def predict(self, x: Faces | tuple[Faces, list[int]]) -> Rows | tuple[Rows, list[int]]:
        """Probabilities of one request, or of several."""
        return (self._pair(x[0]), x[1]) if isinstance(x, tuple) else self._pair(x)

    def unbatch(self, output: tuple[Rows, list[int]]) -> list[Rows]:
        """Probabilities by request."""
        return np.split(*output)

    def encode_response(self, output: Rows) -> Response:
        """Probabilities as raw bytes."""
        return Response(output.tobytes(), media_type="application/octet-stream")


def main() -> None:
    """Serve until a signal."""
    arguments = Arguments.read()
    emotion = Emotion(arguments)
    server = litserve.LitServer(emotion, accelerator="cpu", workers_per_device=arguments.workers, fast_queue=True)
    server.run(host="127.0.0.1", port=arguments.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
