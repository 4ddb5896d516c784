"""Row 7: callers who leave in the very moment of their answer, which ends Triton 2.51 now and then."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from mien.contract import EMOTION
from mien.inference import CallContext, infer_requests
from tests.lifecycle import answers, watched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeServer, WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone, pytest.mark.fault(7)]

CALLERS = 16
LONGEST_S = 0.03
"""After which a call is cancelled; most are answered by then."""
BACK_S = 30.0


async def cancel_calls(endpoint: str, count: int, seed: int) -> None:
    """Cancel so many calls; those that find no server do not count."""
    generator = random.Random(seed)
    (request,) = infer_requests(EMOTION.input.zeros(1), CallContext.create(), model=EMOTION.name, version="")
    left = count

    async def caller(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            call = stub.ModelInfer(request)
            await asyncio.sleep(generator.random() * LONGEST_S)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await call
            if await call.code() == grpc.StatusCode.UNAVAILABLE:
                left += 1
                await asyncio.sleep(LONGEST_S)

    async with grpc.aio.insecure_channel(endpoint) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await asyncio.gather(*(caller(stub) for _ in range(CALLERS)))


@pytest.mark.timeout(300)
def test_a_server_that_a_cancelled_call_ends_is_back_soon(
    make_server: MakeServer,
    tmp_path: Path,
    wait_until: WaitUntil,
    scale: Scale,
    figures: Figures,
    caplog: pytest.LogCaptureFixture,
) -> None:
    count = scale.of(full=10_000, short=1_000)
    with make_server(tmp_path / "state") as server, watched(server):
        asyncio.run(cancel_calls(server.endpoint, count, scale.seed))
        begin = time.monotonic()
        wait_until(lambda: answers(server), timeout_s=BACK_S)
        back_s = time.monotonic() - begin
    deaths = caplog.text.count("its process ended")
    figures.add(
        f"{count:,} calls cancelled about when they are answered: Triton 2.51 ended {deaths} times and was started"
        f" again; answers {back_s:.1f} s after the last of them"
    )
