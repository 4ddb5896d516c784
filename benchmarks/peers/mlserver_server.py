"""MLServer (Seldon) with a runtime of its own for the two graphs, called over gRPC with raw tensors like Triton."""

from __future__ import annotations

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.arguments import Arguments, free_port
from benchmarks.peers.onnx_pair import OnnxPair

NAME = "emotion"


class Emotion(MLModel):  # type: ignore[misc]
    """The two graphs as a runtime."""

    async def load(self) -> bool:
        """Open the sessions, in each worker."""
        arguments = Arguments.kept()
        self._pair = OnnxPair(arguments.preprocess, arguments.classifier, arguments.threads)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request, or several that MLServer has put together."""
        faces = NumpyCodec.decode_input(payload.inputs[0])
        rows = await asyncio.to_thread(self._pair, faces)
        outputs = [NumpyCodec.encode_output("PROBABILITIES", rows)]
        return InferenceResponse(id=payload.id, model_name=NAME, outputs=outputs)


async def serve(arguments: Arguments) -> None:
    """Serve until a signal."""
    settings = Settings(
        host="127.0.0.1",
        grpc_port=arguments.port,
        http_port=free_port(),
        metrics_endpoint=None,
        parallel_workers=arguments.workers if arguments.workers > 1 else 0,
        debug=False,
    )
    batch = arguments.batch if arguments.batch > 1 else 0
    model = ModelSettings(
        name=NAME, implementation=Emotion, max_batch_size=batch, max_batch_time=0.002 if batch else 0.0
    )
    await MLServer(settings).start([model])


def main() -> None:
    """The command line."""
    arguments = Arguments.read()
    arguments.keep()
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
