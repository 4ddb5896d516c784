"""The tables of the feedback database, as `mien.gateway.feedback.migrations` makes them; without pixels or sound."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from sqlalchemy import DateTime, Dialect, Enum, Index, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mien import contract


class State(StrEnum):
    """Of a correction.

    A row is there before its picture and goes after it: one that stays ARRIVING or ERASING was left half done.
    """

    ARRIVING = "arriving"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ERASING = "erasing"


ReviewState = Literal[State.PENDING, State.ACCEPTED, State.REJECTED]
"""Of a correction that is whole."""

Decision = Literal[State.ACCEPTED, State.REJECTED]
"""A reviewer's."""


class UtcDateTime(TypeDecorator[datetime]):
    """Moments with a time zone; SQLite has none and is given UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """What the tables have in common."""


class Correction(Base):
    """A label that a person corrected.

    Attributes:
        id: 32 hexadecimal digits; also the name of its picture or recording.
        created: when it was given.
        state: of it.
        predicted: the label the model gave.
        corrected: the label the person gave.
        release: the release that answered.
        ensemble: the ensemble that it is a release of, which says whether the correction is about a face or speech.
        contributor: who gave it, in the words of whoever sent it; None if they did not say.
        terms: the wording that was agreed to.
        token_sha256: of the token that erases it.
        reviewed: when it was accepted or rejected last.
        reviewer: by whom.
        collected: the dataset it was put into first.
    """

    __tablename__ = "feedback_corrections"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[State] = mapped_column(
        Enum(State, native_enum=False, length=16, values_callable=lambda states: [state.value for state in states])
    )
    predicted: Mapped[str] = mapped_column(String(32))
    corrected: Mapped[str] = mapped_column(String(32))
    release: Mapped[str] = mapped_column(String(16))
    contributor: Mapped[str | None] = mapped_column(String(64), index=True)
    terms: Mapped[str] = mapped_column(Text)
    token_sha256: Mapped[str] = mapped_column(String(64))
    reviewed: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reviewer: Mapped[str | None] = mapped_column(String(128))
    collected: Mapped[str | None] = mapped_column(String(128))
    ensemble: Mapped[str] = mapped_column(String(32), server_default=contract.EMOTION.name)

    __table_args__ = (Index("feedback_corrections_by_state", "state", "created"),)


class AuditEntry(Base):
    """Who did what to which correction, and when. Triggers of the database refuse to change or remove an entry.

    Attributes:
        id: counts up.
        time: when.
        actor: ``key:ID``, ``local``, ``operator:NAME``, ``contributor``, ``retention``, ``purge`` or ``flow``.
        action: ``given``, ``shown``, ``accepted``, ``rejected``, ``collected``, ``erasing``, ``erased``.
        correction: its id, which names nobody once the correction is erased.
    """

    __tablename__ = "feedback_audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(32))
    correction: Mapped[str] = mapped_column(String(32), index=True)
