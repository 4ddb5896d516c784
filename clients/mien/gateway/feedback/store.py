"""The feedback store: a row in the database and an encrypted file for each correction, which come and go together.

The file is the picture of a face, or the recording of speech; what is said of pictures here is true of both. The row
comes before the picture and goes after it, so whatever dies in between leaves a row that says so, and the next
`FeedbackStore.purge` finishes what was begun.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, get_args

from sqlalchemy import CursorResult, Update, delete, func, select, update

from mien.gateway.feedback.database import Database
from mien.gateway.feedback.errors import (
    FeedbackError,
    FeedbackFullError,
    FeedbackUnavailableError,
    UnknownFeedbackError,
)
from mien.gateway.feedback.keyring import Keyring
from mien.gateway.feedback.kinds import FACE, Kind
from mien.gateway.feedback.pictures import EncryptedPictures
from mien.gateway.feedback.tables import AuditEntry, Correction, Decision, ReviewState, State
from mien.gateway.feedback.terms import terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from mien.gateway.feedback.settings import FeedbackSettings

logger = logging.getLogger(__name__)

ARRIVAL_TIMEOUT = timedelta(minutes=10)
"""A correction that has not got its picture by then never will."""

_REVIEWABLE: tuple[State, ...] = get_args(ReviewState)


@dataclass(frozen=True, slots=True)
class GivenCorrection:
    """What a person gives, who has agreed to the terms.

    Attributes:
        predicted: the label the model gave.
        corrected: the label it should have given.
        release: the release that answered.
        example: what it is about: the face as the bytes of a PNG file, or the speech of a FLAC file.
        contributor: who gives it, in the words of whoever sends it.
        kind: whether it is about a face or speech.
    """

    predicted: str
    corrected: str
    release: str
    example: bytes
    contributor: str | None = None
    kind: Kind = FACE


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a contributor gets: the id, the token that erases (kept nowhere else), and when it ends by itself."""

    id: str
    erasure_token: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge removed: too old, never arrived, half erased, pictures without a row; and what it could not."""

    expired: int = 0
    abandoned: int = 0
    half_erased: int = 0
    orphans: int = 0
    failed: int = 0


class FeedbackStore:
    """Corrections with their pictures; several processes may use the same store.

    Args:
        settings: where it is and what it keeps.

    Raises:
        SettingsError: they do not make sense.
    """

    def __init__(self, settings: FeedbackSettings) -> None:
        self._settings = settings
        self._keyring = Keyring(settings)
        self._keyring.check()
        self._pictures = EncryptedPictures(settings.pictures, self._keyring)
        self._database = Database(settings.database)

    def is_there(self) -> bool:
        """Whether anything was ever kept, as far as can be told without making the store."""
        return self._database.is_there()

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    def add(self, given: GivenCorrection, actor: str) -> Receipt:
        """Keep a correction.

        Raises:
            FeedbackFullError: there are as many as there may be.
            FeedbackUnavailableError: it cannot be kept; nothing of it is.
        """
        token = secrets.token_urlsafe(32)
        correction = Correction(
            id=uuid.uuid4().hex,
            created=_now(),
            state=State.ARRIVING,
            predicted=given.predicted,
            corrected=given.corrected,
            release=given.release,
            contributor=given.contributor,
            terms=terms(self._settings.retention_days, given.kind),
            ensemble=given.kind.ensemble.name,
            token_sha256=_digest(token),
        )
        with self._database.transaction() as session:
            if (session.scalar(select(func.count()).select_from(Correction)) or 0) >= self._settings.max_stored:
                raise FeedbackFullError(
                    f"{self._settings.max_stored} corrections are kept, which is as many as there may be; try again "
                    "when some have been erased."
                )
            session.add(correction)
        try:
            self._pictures.write(correction.id, given.example)
        except FeedbackError:
            with suppress(FeedbackError):  # what cannot be removed now either, the next purge finds
                self._forget(correction.id)
            raise
        with self._database.transaction() as session:
            has_arrived = _changed(session, _update(correction.id, State.ARRIVING).values(state=State.PENDING))
            if has_arrived:
                session.add(_entry(actor, "given", correction.id))
        if not has_arrived:  # a purge took it for dead
            self._pictures.remove(correction.id)
            raise FeedbackUnavailableError("Keeping the correction took too long; give it again.")
        return Receipt(correction.id, token, correction.created + timedelta(days=self._settings.retention_days))

    def find(self, identifier: str) -> Correction:
        """The correction with that id.

        Raises:
            UnknownFeedbackError: there is none.
        """
        with self._database.transaction() as session:
            correction = session.get(Correction, identifier)
        if correction is None or correction.state not in _REVIEWABLE:
            raise _unknown(identifier)
        return correction

    def entries(
        self,
        state: ReviewState | None = None,
        contributor: str | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[list[Correction], int]:
        """Corrections that have arrived, the oldest first, and how many there are of them beyond `limit`.

        Args:
            state: only those.
            contributor: only this one's.
            limit: at most so many.
            offset: leave out so many of the oldest.
        """
        wanted: list[ColumnElement[bool]] = [Correction.state.in_(_REVIEWABLE)]
        if state is not None:
            wanted.append(Correction.state == state)
        if contributor is not None:
            wanted.append(Correction.contributor == contributor)
        with self._database.transaction() as session:
            total = session.scalar(select(func.count()).select_from(Correction).where(*wanted)) or 0
            page = select(Correction).where(*wanted).order_by(Correction.created, Correction.id)
            return list(session.scalars(page.limit(limit).offset(offset))), total

    def example(self, identifier: str, actor: str) -> bytes:
        """What a correction is about, as it was given; that it was shown is noted.

        Raises:
            UnknownFeedbackError: there is no such correction.
            FeedbackUnavailableError: it cannot be read, or not with these keys.
        """
        self.find(identifier)
        content = self._pictures.read(identifier)
        with self._database.transaction() as session:
            session.add(_entry(actor, "shown", identifier))
        return content

    def review(self, identifier: str, decision: Decision, actor: str) -> Correction:
        """Accept or reject a correction; a decision may be changed.

        Raises:
            UnknownFeedbackError: there is no such correction.
        """
        with self._database.transaction() as session:
            values = {"state": decision, "reviewed": _now(), "reviewer": actor}
            if not _changed(session, _update(identifier, *_REVIEWABLE).values(values)):
                raise _unknown(identifier)
            session.add(_entry(actor, decision, identifier))
            return session.get_one(Correction, identifier)

    def erase(self, identifier: str, actor: str) -> None:
        """Erase a correction and its picture, for good.

        Raises:
            UnknownFeedbackError: there is no such correction.
            FeedbackUnavailableError: it cannot be finished now; the next purge does it.
        """
        with self._database.transaction() as session:
            if not _changed(session, _update(identifier, *State).values(state=State.ERASING)):
                raise _unknown(identifier)
            session.add(_entry(actor, "erasing", identifier))
        self._finish_erasure(identifier, actor)

    def erase_with_token(self, identifier: str, token: str) -> None:
        """Erase as the contributor, who has the token of the receipt.

        Raises:
            UnknownFeedbackError: there is no such correction, or the token is another's.
            FeedbackUnavailableError: it cannot be finished now; the next purge does it.
        """
        with self._database.transaction() as session:
            known = session.scalar(select(Correction.token_sha256).where(Correction.id == identifier))
        # Against something in any case, so that time does not tell whether an id exists.
        if not hmac.compare_digest(_digest(token), known or _digest("")) or known is None:
            raise _unknown(identifier)
        self.erase(identifier, "contributor")

    def erase_contributor(self, contributor: str, actor: str) -> list[str]:
        """Erase all that a contributor gave; returns the ids.

        Raises:
            UnknownFeedbackError: there is nothing of that contributor.
            FeedbackUnavailableError: it cannot be finished now; the next purge does it.
        """
        found, _ = self.entries(contributor=contributor)
        if not found:
            raise UnknownFeedbackError(f"There is no correction of a contributor {contributor!r}.")
        for correction in found:
            self.erase(correction.id, actor)
        return [correction.id for correction in found]

    def accepted(self, kind: Kind = FACE) -> list[Correction]:
        """The accepted corrections of faces, or of speech, the oldest first."""
        return [one for one in self.entries(State.ACCEPTED)[0] if one.ensemble == kind.ensemble.name]

    def collect(self, corrections: Sequence[Correction], dataset: str, actor: str) -> None:
        """Note that corrections were put into a dataset; of those that were in one before, the first stays noted."""
        with self._database.transaction() as session:
            for correction in corrections:
                statement = update(Correction).where(Correction.id == correction.id, Correction.collected.is_(None))
                if _changed(session, statement.values(collected=dataset)):
                    session.add(_entry(actor, "collected", correction.id))

    def training_example(self, identifier: str) -> bytes:
        """What a correction is about, for training; `collect` notes it.

        Raises:
            FeedbackUnavailableError: it cannot be read, or not with these keys.
        """
        return self._pictures.read(identifier)

    def audit(self, identifier: str | None = None) -> list[AuditEntry]:
        """Who did what, in order; of one correction, or of all."""
        wanted = select(AuditEntry).order_by(AuditEntry.id)
        if identifier is not None:
            wanted = wanted.where(AuditEntry.correction == identifier)
        with self._database.transaction() as session:
            return list(session.scalars(wanted))

    def purge(self) -> Purged:
        """Erase what is too old, and finish or undo what was left half done.

        Raises:
            FeedbackUnavailableError: the database or the pictures cannot be reached.
        """
        # Before the rows: a picture never comes before its row, so one without a row now has lost it.
        pictures = self._pictures.ids()
        now = _now()
        with self._database.transaction() as session:
            is_old = Correction.created < now - timedelta(days=self._settings.retention_days)
            is_late = Correction.created < now - ARRIVAL_TIMEOUT
            expired = _ids(session, Correction.state.in_(_REVIEWABLE), is_old)
            abandoned = _ids(session, Correction.state == State.ARRIVING, is_late)
            half_erased = _ids(session, Correction.state == State.ERASING)
            known = _ids(session)
        orphans = sorted(set(pictures) - set(known))
        failed = self._try_each(expired, lambda one: self.erase(one, "retention"))
        failed += self._try_each(abandoned, lambda one: self.erase(one, "purge"))
        failed += self._try_each(half_erased, lambda one: self._finish_erasure(one, "purge"))
        failed += self._try_each(orphans, self._pictures.remove)
        return Purged(len(expired), len(abandoned), len(half_erased), len(orphans), failed)

    def rotate_keys(self) -> int:
        """Encrypt all pictures anew: with a new key in the key file, or the first of MIEN_FEEDBACK_KEY.

        Returns:
            how many there are.

        Raises:
            FeedbackUnavailableError: a picture cannot be read; the old keys stay, so it may be tried again.
            SettingsError: the key file cannot be written.
        """
        self._keyring.add_key()
        pictures = self._pictures.ids()
        for identifier in pictures:
            self._pictures.renew(identifier)
        self._keyring.forget_old_keys()
        return len(pictures)

    def _forget(self, identifier: str) -> None:
        """Remove what nobody has got a receipt for."""
        self._pictures.remove(identifier)
        with self._database.transaction() as session:
            session.execute(delete(Correction).where(Correction.id == identifier))

    def _finish_erasure(self, identifier: str, actor: str) -> None:
        self._pictures.remove(identifier)
        with self._database.transaction() as session:
            gone = session.execute(delete(Correction).where(Correction.id == identifier))
            if isinstance(gone, CursorResult) and gone.rowcount:
                session.add(_entry(actor, "erased", identifier))

    def _try_each(self, identifiers: Sequence[str], act: Callable[[str], None]) -> int:
        """Do it with each, whatever becomes of the others; returns how many failed."""
        failed = 0
        for identifier in identifiers:
            try:
                act(identifier)
            except UnknownFeedbackError:  # somebody else was faster
                continue
            except FeedbackError as error:
                logger.warning("feedback_not_erased", extra={"feedback": identifier, "reason": str(error)})
                failed += 1
        return failed


def _now() -> datetime:
    return datetime.now(UTC)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unknown(identifier: str) -> UnknownFeedbackError:
    return UnknownFeedbackError(f"There is no correction {identifier!r} here, or it is not yours.")


def _entry(actor: str, action: str, identifier: str) -> AuditEntry:
    return AuditEntry(time=_now(), actor=actor, action=action, correction=identifier)


def _ids(session: Session, *conditions: ColumnElement[bool]) -> list[str]:
    return list(session.scalars(select(Correction.id).where(*conditions)))


def _update(identifier: str, *states: State) -> Update:
    return update(Correction).where(Correction.id == identifier, Correction.state.in_(states))


def _changed(session: Session, statement: Update) -> bool:
    result = session.execute(statement)
    return isinstance(result, CursorResult) and result.rowcount > 0
