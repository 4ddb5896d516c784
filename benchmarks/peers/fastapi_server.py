"""FastAPI and ONNX Runtime, as one would write it by hand: raw bytes in, raw bytes out, the model in a thread."""
# No `from __future__ import annotations`: FastAPI looks at the annotations of nested functions.

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from benchmarks.peers.arguments import Arguments
from benchmarks.peers.onnx_pair import OnnxPair
from benchmarks.peers.payload import faces_of


def create_app() -> FastAPI:
    """The application of one worker process, which has its arguments from the first one."""
    app = FastAPI()
    arguments = Arguments.kept()
    pair = OnnxPair(arguments.preprocess, arguments.classifier, arguments.threads)

    @app.post("/classify")
    async def classify(request: Request) -> Response:
        rows = await run_in_threadpool(pair, faces_of(await request.body()))
        return Response(rows.tobytes(), media_type="application/octet-stream")

    return app


def main() -> None:
    """Serve until a signal."""
    arguments = Arguments.read()
    arguments.keep()
    app = "benchmarks.peers.fastapi_server:create_app"
    uvicorn.run(app, factory=True, port=arguments.port, workers=arguments.workers, log_level="warning")


if __name__ == "__main__":
    main()
