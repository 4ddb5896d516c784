"""``python -m tests.recordings.record``: records Triton and the gateway while they are well, overloaded and broken.

Writes serving.yaml beside this file: the series that rules and the autoscaler read, one value each 5 s, in the notation
of `promtool test rules`. It takes 5 minutes, 20 s of them with both cores; run it again when a metric changes.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import yaml

from mien import ClientSettings, EmotionClient
from mien.errors import MienError
from serving import TritonServer
from serving.stubs import living_stubs
from tests.conftest import ROOT, server_settings
from tests.gateways import RunningGateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).with_name("serving.yaml")
INTERVAL_S = 5
PHASES_S = {"well": 70, "overloaded": 20, "broken": 140}
CALLERS = 24
KEPT = (
    r"nv_inference_(request_success|request_failure|queue_duration_us)\{.*"
    r'|mien_gateway_(requests_total|request_seconds_count|request_seconds_bucket\{le="0\.5")\W.*route="(/v1)?/detect".*'
)
PORTRAIT = ROOT / "docs/portraits/astronaut.jpg"


def main() -> None:
    """Record every phase and write the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway").mkdir()
        rates = {"DETECT_PER_MINUTE": "100000", "WORKERS": "1"}
        with (
            TritonServer(server_settings(folder / "triton")) as triton,
            running_gateway(triton.endpoint, folder / "gateway", **rates) as gateway,
        ):
            recording = Recording({"triton": triton.metrics_url, "gateway": f"{gateway.url}/metrics"})
            recording.take(PHASES_S["well"], [lambda: _send_pictures(gateway)])
            crowd = [lambda: _send_faces(triton.endpoint)] * CALLERS
            recording.take(PHASES_S["overloaded"], [lambda: _send_pictures(gateway), *crowd])
            for stub in living_stubs(triton.process_id):
                if stub.model == "emotion_classifier":
                    os.kill(stub.process_id, signal.SIGKILL)
            recording.take(PHASES_S["broken"], [lambda: _send_pictures(gateway)])
    recording.write()


class Recording:
    """Values of every series, one for each look at the pages.

    Args:
        pages: address of each job's metrics.
    """

    def __init__(self, pages: dict[str, str]) -> None:
        self._pages = pages
        self._looks = 0
        self._values: defaultdict[str, dict[int, float]] = defaultdict(dict)

    def take(self, seconds: float, callers: list[Callable[[], None]]) -> None:
        """Look at regular times for so long, while the callers call again and again."""
        stop = threading.Event()

        def call_until_stopped(call: Callable[[], None]) -> None:
            while not stop.is_set():
                call()

        threads = [threading.Thread(target=call_until_stopped, args=(call,)) for call in callers]
        for thread in threads:
            thread.start()
        for _ in range(round(seconds / INTERVAL_S)):
            self._look()
            time.sleep(INTERVAL_S)
        stop.set()
        for thread in threads:
            thread.join()

    def write(self) -> None:
        """Write what was recorded; ``_`` is a look before a series began."""
        series = [
            {"series": name, "values": " ".join(f"{values[i]:g}" if i in values else "_" for i in range(self._looks))}
            for name, values in sorted(self._values.items())
        ]
        content = {"phases_s": PHASES_S, "interval_s": INTERVAL_S, "input_series": series}
        FILE.write_text(yaml.safe_dump(content, sort_keys=False, width=1000))

    def _look(self) -> None:
        for job, url in self._pages.items():
            with urllib.request.urlopen(url, timeout=30) as answer:
                page = answer.read().decode()
            self._values[f'up{{job="{job}"}}'][self._looks] = 1
            # As Prometheus reads them: prometheus_client's parser calls every counter …_total.
            for name, labels, value in re.findall(r"^(\w+)\{(.+)\} (\S+)$", page, re.MULTILINE):
                if re.fullmatch(KEPT, f"{name}{{{labels}}}"):
                    self._values[f'{name}{{job="{job}",{labels}}}'][self._looks] = float(value)
        self._looks += 1


def _send_pictures(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        try:
            client.post("/v1/detect", files={"image": PORTRAIT.read_bytes()})
        except httpx.TransportError:
            return
    time.sleep(0.5)


def _send_faces(endpoint: str) -> None:
    with EmotionClient(ClientSettings(endpoints=endpoint, deadline_s=60)) as client:
        for _ in range(20):
            try:
                client.classify(np.zeros((16, 96, 96, 3), np.uint8))
            except MienError:
                return


if __name__ == "__main__":
    main()
