"""What people do with Mien, once each, in whatever environment this process is started; a line of JSON for each errand.

python -m tests.faults.errands FOLDER [--train]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving import ModelRepository, TritonServer, publish
from tests.conftest import server_settings
from tests.faults.pictures import PICTURE
from tests.gateways import running_gateway
from tests.releases import export_variant
from tests.unit.training.faces import write_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateways import RunningGateway

PICTURE_NAME = "İğ ü €.jpg"
"""Turkish has two letters i, and no ISO-8859-1 has the €."""

CONFIG = (
    "from training.config import Config\nCONFIG = Config('vgg_small', epochs=1, learning_rate=0.1, batch_size=14)\n"
)
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class House:
    """What errands are done with.

    Attributes:
        folder: for all that is written.
        server: a running Triton.
        gateway: before it.
    """

    folder: Path
    server: TritonServer
    gateway: RunningGateway

    def sdk(self) -> str:
        """Classify faces."""
        with EmotionClient(ClientSettings(endpoints=self.server.endpoint)) as client:
            return f"release {client.classify(EMOTION.input.zeros(2)).model_versions[0]}"

    def command(self) -> str:
        """``mien image``, without a detector of its own: it says what it misses."""
        picture = self.folder / os.fsdecode(PICTURE_NAME.encode())
        picture.write_bytes(PICTURE)
        done = self._run(str(Path(sys.executable).parent / "mien"), "image", str(picture), "--json")
        return f"{json.loads(done.stdout)['faces'][0]['emotion']}; {done.stderr}"

    def rest(self) -> str:
        """A picture over REST."""
        with self.gateway.client() as client:
            answer = client.post("/v1/detect", files={"image": ("face.jpg", PICTURE)}).raise_for_status()
            client.get("/ready").raise_for_status()
            return str(answer.json()["emotion"])

    def feedback(self) -> str:
        """A correction, which is found again."""
        fields = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}
        with self.gateway.client() as client:
            given = client.post("/v1/feedback", files={"image": ("face.jpg", PICTURE)}, data=fields).raise_for_status()
            client.get(f"/v1/feedback/{given.json()['id']}/picture").raise_for_status()
            return f"{client.get('/v1/feedback').raise_for_status().json()['total']} kept"

    def release(self) -> str:
        """Publish a release, promote it, and list what there is."""
        settings = server_settings(self.folder / "state")
        export = export_variant(settings, self.folder / "export", favour=3)
        made = publish(export, ModelRepository(settings.model_repository), EMOTION).manifest.release
        self._flows("promote", str(made))
        served = self.sdk()
        if served != f"release {made}":
            raise AssertionError(f"{served} is served after promoting {made}")
        self._flows("verify")
        return self._flows("list").stdout.splitlines()[-1].strip()

    def _flows(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-m", "flows.release", *arguments)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        port = self.server.endpoint.rpartition(":")[2]
        ours = {
            "MIEN_ENDPOINTS": self.server.endpoint,
            "MIEN_STATE": str(self.folder / "state"),
            "MIEN_GRPC_PORT": port,
        }
        done = subprocess.run(
            [program, *arguments],
            env=os.environ | ours,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode or "Traceback" in done.stderr:
            raise AssertionError(f"{arguments}: {done.returncode} {done.stderr[-1500:]}")
        return done


def train(folder: Path) -> str:
    """The smallest training that there is, as its command does it."""
    (folder / "brief.py").write_text(CONFIG)
    data = write_tree(folder / "faces")
    command = [sys.executable, "-m", "training", "fit", str(data), "--config", str(folder / "brief.py")]
    done = subprocess.run(
        [*command, "--backend", "jax", "--run", str(folder / "run")],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode or "Traceback" in done.stderr:
        raise AssertionError(f"{done.returncode} {done.stderr[-1500:]}")
    return next(line for line in done.stdout.splitlines() if line.startswith("Validation accuracy"))


def told(name: str, errand: Callable[[], str]) -> None:
    """Do it and print what became of it."""
    begin_s = time.monotonic()
    try:
        outcome, failure = errand(), ""
    except Exception:  # noqa: BLE001 (whatever it is, it is told)
        outcome, failure = "", traceback.format_exc()
    took_s = time.monotonic() - begin_s
    print(json.dumps({"errand": name, "outcome": outcome, "failure": failure, "seconds": took_s}), flush=True)


def main() -> None:
    """Do all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder
    (folder / "gateway").mkdir()
    with (
        TritonServer(server_settings(folder / "state")) as server,
        running_gateway(server.endpoint, folder / "gateway", WORKERS="1") as gateway,
    ):
        house = House(folder, server, gateway)
        for errand in (house.sdk, house.command, house.rest, house.feedback, house.release):
            told(errand.__name__, errand)
        told("logs", lambda: _logs(folder))
    if options.train:
        told("training", lambda: train(folder))


def _logs(folder: Path) -> str:
    logs = [path for path in folder.rglob("*") if path.is_file() and (path.suffix == ".log" or path.name == "log")]
    for path in logs:
        if "Traceback" in (content := path.read_text(errors="replace")):
            raise AssertionError(f"{path}: {content[-1500:]}")
    return f"{len(logs)} without a traceback"


if __name__ == "__main__":
    main()
