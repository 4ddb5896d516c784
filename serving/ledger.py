"""What has been done with a repository's releases: who may change them now, what was served when, what is unfinished.

It lies in the folder ``.releases`` of the repository, which no server reads.
"""

from __future__ import annotations

import fcntl
import getpass
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.configuration import write_durably
from serving.errors import RepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = ".releases"

Action = Literal["promote", "rollback"]


class Entry(BaseModel):
    """One change of what an ensemble serves.

    Attributes:
        at: when it was done, in UTC.
        action: what was asked for.
        ensemble: whose release changed.
        release: what is served since.
        previous: what was served until then.
        by: the account that did it.
        reason: why, if someone said so.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    action: Action
    ensemble: str
    release: int
    previous: int
    by: str = Field(default_factory=getpass.getuser)
    reason: str = ""


class Ledger:
    """The bookkeeping of one repository.

    Args:
        repository: its root folder.
    """

    def __init__(self, repository: Path) -> None:
        self.folder = repository / FOLDER
        self._history = self.folder / "history.jsonl"
        self._unfinished = self.folder / "unfinished.json"

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Be the only one to change releases; others wait. The kernel lets go however the process ends.

        Args:
            name: another lock's, for what may go on while releases change.

        Raises:
            RepositoryError: the repository cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            file = (self.folder / name).open("a")
        except OSError as error:
            raise RepositoryError(f"{self.folder.parent} cannot be written: {error.strerror or error}.") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def history(self, ensemble: str) -> list[Entry]:
        """Every change of what `ensemble` serves, oldest first.

        Raises:
            RepositoryError: the history is damaged.
        """
        try:
            lines = self._history.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        try:
            entries = [Entry.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise RepositoryError(
                f"{self._history} is damaged. Name the release to serve: `python -m flows.release promote N`; move the"
                " file away to begin a new history."
            ) from error
        return [entry for entry in entries if entry.ensemble == ensemble]

    def predecessor(self, ensemble: str, serving: int) -> int | None:
        """The release to go back to from `serving`: what was served before it and was not itself left behind.

        Promotions pile up and a rollback takes the top away, so two rollbacks in a row go back two releases.
        """
        served: list[int] = []
        for entry in self.history(ensemble):
            served = served or [entry.previous]
            if entry.action == "rollback" and entry.release in served:
                del served[served.index(entry.release) + 1 :]
            else:
                served = [release for release in served if release != entry.release] + [entry.release]
        before = served[: served.index(serving)] if serving in served else served
        return before[-1] if before else None

    def begin(self, entry: Entry) -> None:
        """Note a change before it is made."""
        self._note([*self._others(entry), entry])

    def finish(self, entry: Entry) -> None:
        """Note that the change that was begun is made."""
        done = self._history.read_bytes() if self._history.exists() else b""
        write_durably(self._history, done + entry.model_dump_json().encode() + b"\n")
        self._note(self._others(entry))

    def abandon(self, entry: Entry) -> None:
        """Note that the change that was begun has been taken back."""
        self._note(self._others(entry))

    def unfinished(self, ensemble: str) -> Entry | None:
        """The change of `ensemble` that somebody began and did not live to finish; ask for it with the lock held.

        Raises:
            RepositoryError: the note of it is damaged.
        """
        return next((entry for entry in self._begun() if entry.ensemble == ensemble), None)

    def _others(self, entry: Entry) -> list[Entry]:
        """What is unfinished of other ensembles: whoever changes one leaves it to those who change them."""
        return [other for other in self._begun() if other.ensemble != entry.ensemble]

    def _note(self, begun: list[Entry]) -> None:
        if begun:
            write_durably(self._unfinished, b"".join(entry.model_dump_json().encode() + b"\n" for entry in begun))
        else:
            self._unfinished.unlink(missing_ok=True)

    def _begun(self) -> list[Entry]:
        """The unfinished changes, at most one of each ensemble, a line each."""
        try:
            lines = self._unfinished.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        try:
            return [Entry.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise RepositoryError(
                f"{self._unfinished} is damaged; delete it and promote the release you want."
            ) from error
