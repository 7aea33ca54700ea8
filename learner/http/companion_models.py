"""What the companion panel is told, and what it says. UIDs, numbers and reasons; never a patient attribute."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from learner.app.standing import CaseState
from learner.domain.case import RoundState
from learner.http.names import ReaderName

_LARGEST_ID = 2**63 - 1


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class StructureView(_View):
    """One structure of an answer."""

    number: int
    name: str
    colour: str = Field(description="Display colour as `#rrggbb`.")
    volume_ml: float | None = Field(description="Volume in the answer, in millilitres.")
    prior_volume_ml: float | None = Field(description="Volume in the latest other study of the patient that was drawn on.")
    estimated_dice: float | None = Field(
        description="Dice that the answer may be expected to have; null where too little is known."
    )


class NextSliceView(_View):
    """A slice that is worth drawing next, or accepting."""

    axis: int = Field(description="Array axis that the plane is perpendicular to: 0 for a slice of the series.")
    index: int = Field(description="Its index along that axis, from 0.")
    sop_instance_uid: str = Field(description="Its image; empty for a plane that was not acquired.")
    frame_number: int = Field(0, description="Its frame in a multi-frame image, from 1; else 0.")
    score: float
    reason: str


class AnswerView(_View):
    """The answer that stands in the archive."""

    round_id: int
    number: int = Field(description="Round of the case; 0 is the answer before anything was drawn.")
    answered_at: float = Field(description="POSIX time.")
    seconds: float = Field(description="From the trigger to the whole answer in the archive.")
    version: str = Field(description="Version of the model that took part; empty for none.")
    prediction_series_uid: str = Field(description="Series of the prediction; empty where it is not in the archive.")
    residual_series_uid: str = Field(description="Series of the bands of disagreement; empty for none.")
    slices: int = Field(description="Slices of the series.")
    drawn: tuple[int, ...] = Field(description="Slices that readers drew on, from 0.")
    accepted: tuple[int, ...] = Field(description="Slices that readers accepted, from 0.")
    structures: tuple[StructureView, ...]
    next_slices: tuple[NextSliceView, ...] = Field(description="Best first.")
    enough: bool = Field(description="Whether more drawing would change little.")
    remarks: tuple[str, ...] = Field(description="What was understood in a way that the reader may not expect.")


class LastDrawingView(_View):
    """The newest drawing, or acceptance, that counts."""

    round_id: int
    received_at: float = Field(description="POSIX time.")
    reader: ReaderName = Field(description="Who drew; empty where the object does not say, and for machines' tokens.")
    planes: int = Field(description="Planes that it made known.")
    accepted: bool = Field(description="Whether it accepts slices of an answer.")
    may_withdraw: bool = Field(description="Whether who asks may take it back.")


class CompanionCase(_View):
    """A case of the study, as its reader sees it."""

    case_id: int
    task_id: str
    title: str
    series_instance_uid: str = Field(description="Series of the images.")
    part: str = Field(description="Which of several volumes in the series; empty where it is one.")
    state: CaseState
    since: float | None = Field(description="POSIX time of what decides the state; null where nothing happened yet.")
    reason: str = Field(description="Why it waits, was refused, or told nothing new, with the remedy; empty otherwise.")
    answer: AnswerView | None = Field(description="Null where none stands in the archive.")
    prior_study_uid: str = Field(description="Study that `prior_volume_ml` is from; empty for none.")
    last_drawing: LastDrawingView | None = Field(description="Null where nothing is drawn that counts.")


class NoticeView(_View):
    """An annotation of the study whose case is not known."""

    round_id: int
    state: RoundState
    reason: str
    received_at: float = Field(description="POSIX time.")


class CompanionView(_View):
    """What the node makes of a study."""

    study_instance_uid: str
    reader: str = Field(description="Who is signed in; empty for nobody.")
    archive_error: str = Field(description="Why the archive cannot be read; empty while it can.")
    cases: tuple[CompanionCase, ...] = Field(description="Its series that belong to a task; none where none does.")
    notices: tuple[NoticeView, ...] = Field(description="Annotations not read yet, or not understood; newest first.")


RoundNumber = Annotated[int, Field(ge=1, le=_LARGEST_ID)]


class AcceptRequest(BaseModel):
    """A reader accepts an answer as it is."""

    model_config = ConfigDict(extra="forbid")

    round_id: RoundNumber = Field(description="The answer that was looked at.")
    slices: Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(min_length=1, max_length=10_000)] | None = Field(
        None, description="Slices from 0; all of the series if left out."
    )


class AcceptedView(_View):
    """What was accepted stands in the archive, and is taken in as an annotation."""

    sop_instance_uid: str = Field(description="The object; `GET /api/triggers/{uid}` tells what became of it.")


class WithdrawRequest(BaseModel):
    """A reader takes a drawing back."""

    model_config = ConfigDict(extra="forbid")

    round_id: RoundNumber = Field(description="The round of the drawing.")
