"""What people do with Mien, once each, in whatever environment this process is started; a line of JSON for each errand.

python -m tests.faults.errands FOLDER [--train] [--clock FILE]

The clock is that of tests/faults/set_clock.c, which adds the seconds in FILE to it.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
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
    from collections.abc import Callable, Iterator

    from tests.gateways import RunningGateway

PICTURE_NAME = "İğ ü €.jpg"
"""Turkish has two letters i, and no ISO-8859-1 has the €."""

DAY_S = 86_400
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

    @property
    def everyday(self) -> tuple[Callable[[], str], ...]:
        """Errands that work as long as anything does."""
        return self.sdk, self.command, self.rest, self.feedback

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
        exports = self.folder / "exports"
        exports.mkdir(exist_ok=True)
        number = len(list(exports.iterdir()))
        export = export_variant(settings, exports / str(number), favour=3 + number)
        made = publish(export, ModelRepository(settings.model_repository), EMOTION).manifest.release
        self._flows("promote", str(made))
        served = self.sdk()
        if served != f"release {made}":
            raise AssertionError(f"{served} is served after promoting {made}")
        self._flows("verify")
        return self._flows("list").stdout.splitlines()[-1].strip()

    def no_release(self) -> str:
        """Roll back where that cannot be done: it says so at once, and what is served stays."""
        before = self.sdk()
        done = self._flows("rollback", fails=True)
        if "set back" not in done.stderr or self.sdk() != before:
            raise AssertionError(done.stderr[-1500:])
        return done.stderr.strip()

    def _flows(self, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-m", "flows.release", *arguments, fails=fails)

    def _run(self, program: str, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
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
        if (done.returncode != 0) != fails or "Traceback" in done.stderr:
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


def do(*errands: Callable[[], str], when: str = "") -> None:
    """Do them one after the other."""
    for errand in errands:
        told(f"{errand.__name__} {when}".strip(), errand)


@contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Triton and a gateway on this folder."""
    with (
        TritonServer(server_settings(folder / "state")) as server,
        running_gateway(server.endpoint, folder / "gateway", WORKERS="1") as gateway,
    ):
        yield House(folder, server, gateway)


def main() -> None:
    """Do all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--clock", type=Path, help="have it jump, and do all of them after each jump")
    options = parser.parse_args()
    folder: Path = options.folder
    (folder / "gateway").mkdir()
    with running_house(folder) as house:
        do(*house.everyday, house.release)
        if options.clock:
            set_clock(options.clock, 400 * DAY_S)
            do(*house.everyday, house.release, when="400 days ahead")
            set_clock(options.clock, -2 * DAY_S)
            do(*house.everyday, house.no_release, when="2 days behind")
    if options.clock:
        with running_house(folder) as house:
            do(*house.everyday, house.release, when="2 days behind, started again")
    told("logs", lambda: _logs(folder))
    if options.train:
        told("training", lambda: train(folder))


def set_clock(file: Path, seconds: int) -> None:
    """Have the clock of all who look at the file say so many seconds more than it is."""
    with file.open("r+b", buffering=0) as opened:
        opened.write(struct.pack("q", seconds))


def _logs(folder: Path) -> str:
    logs = [path for path in folder.rglob("*") if path.is_file() and (path.suffix == ".log" or path.name == "log")]
    for path in logs:
        if "Traceback" in (content := path.read_text(errors="replace")):
            raise AssertionError(f"{path}: {content[-1500:]}")
    return f"{len(logs)} without a traceback"


if __name__ == "__main__":
    main()
