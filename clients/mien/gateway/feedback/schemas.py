"""What the routes of feedback take and give, as JSON."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from mien.gateway.feedback.kinds import KINDS
from mien.gateway.feedback.tables import Correction, Decision, ReviewState

_ID = "9b2f0c1d6f8e4a0c8d5e7a1b2c3d4e5f"


class SpeechTermsAnswer(BaseModel):
    """On which terms corrections of speech are taken."""

    terms: str = Field(description="What a person agrees to with consent=true; show it before asking.")
    labels: list[str] = Field(description="What a label can be corrected to.")
    max_recording_bytes: int


class TermsAnswer(BaseModel):
    """Whether corrections are taken here, and on which terms those of faces are."""

    enabled: bool
    terms: str = Field(description="What a person agrees to with consent=true; show it before asking.")
    labels: list[str] = Field(description="What a label can be corrected to.")
    retention_days: int
    max_picture_bytes: int
    speech: SpeechTermsAnswer


class ReceiptAnswer(BaseModel):
    """What a contributor keeps."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": _ID, "erasure_token": "l5qkW3…", "expires": "2027-05-20T10:00:00Z"}],
        }
    )

    id: str
    erasure_token: str = Field(description="Erases the correction and its picture; it cannot be had again.")
    expires: datetime = Field(description="It is erased by then in any case.")


class CorrectionAnswer(BaseModel):
    """A correction as a reviewer sees it."""

    id: str
    created: datetime
    state: ReviewState
    predicted: str
    corrected: str
    release: str
    contributor: str | None
    reviewed: datetime | None = Field(description="When it was accepted or rejected last.")
    reviewer: str | None
    collected: str | None = Field(description="The dataset that it was put into first.")
    ensemble: str = Field(description="emotion: it is about a face; speech_emotion: about speech.")
    picture_url: str | None = Field(description="Of the face; null of speech.")
    recording_url: str | None = Field(description="Of the speech; null of a face.")

    @classmethod
    def of(cls, correction: Correction) -> Self:
        """From its row."""
        name = KINDS[correction.ensemble].name
        urls = {"picture_url": None, "recording_url": None, f"{name}_url": f"/v1/feedback/{correction.id}/{name}"}
        return cls.model_validate({field: getattr(correction, field, None) for field in cls.model_fields} | urls)


class CorrectionsAnswer(BaseModel):
    """A page of corrections, the oldest first."""

    corrections: list[CorrectionAnswer]
    total: int = Field(description="How many there are on all pages.")


class ReviewRequest(BaseModel):
    """A reviewer's decision; it may be changed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"decision": "accepted"}]})

    decision: Decision
