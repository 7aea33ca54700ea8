"""What the routes of the node's page answer with: summaries. UIDs, numbers and reasons; never a patient attribute."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from learner.domain.case import RoundState


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Revision(_View):
    """How far the node's records have come."""

    revision: int = Field(description="Rises with every change of rounds, jobs and versions.")


class PictureView(_View):
    """A small picture of a slice."""

    path: str = Field(description="Route of the PNG; `overlay` may be added.")
    kind: str = Field(description="`answer` (where it is largest), `residual` (most disagreement) or `guidance`.")
    axis: int
    index: int
    link: str = Field(description="Address of the slice in a viewer; empty without one.")
    score: float | None = Field(None, description="Of guidance: expected worth in [0, 1].")
    reason: str = Field("", description="Of guidance: why this slice.")


class CaseSummaryView(_View):
    """A case as it stands, without the facts of each round."""

    case_id: int
    task_id: str
    study_instance_uid: str
    series_instance_uid: str
    link: str = Field(description="Address of the study in a viewer; empty without one.")
    rounds: int = Field(description="How many rounds it has.")
    round_id: int = Field(description="The latest round.")
    state: RoundState = Field(description="State of the latest round.")
    number: int | None = Field(description="Number of the latest round within the case.")
    reason: str
    reader: str
    received_at: float
    answered_at: float | None
    checkpoint: str = Field(description="Version that took part in the latest round; empty for none.")
    drawn: int | None = Field(description="Slices drawn so far; null before anything is answered.")
    slices: int | None = Field(description="Slices of the series.")
    estimated_dice: float | None = Field(description="Of the latest answer, mean over labels; null where nothing can be said.")
    foresight: float | None = Field(description="Dice of the network alone on what was last drawn, mean over labels.")
    enough: bool = Field(description="Whether drawing more is expected to gain little.")
    pictures: tuple[PictureView, ...] = Field(description="Of the latest answer: where it is largest, where ends disagree.")


class CasePage(_View):
    """Some cases, the one with the latest round first."""

    total: int = Field(description="Cases that have a round.")
    cases: tuple[CaseSummaryView, ...]


class RoundPicturesView(_View):
    """The pictures of a round's answer."""

    round_id: int
    pictures: tuple[PictureView, ...]


class TroubleView(_View):
    """What waits for something, failed, or was given up."""

    round_id: int
    case_id: int | None
    task_id: str
    work: str = Field(description="`answer` or `learning`.")
    state: str = Field(description="`waiting`, `refused`, `parked` (given up), `ready` or `leased` (tried again by itself).")
    attempts: int
    reason: str = Field(description="Why, with the remedy.")
    received_at: float
    can_retry: bool
    link: str = Field(description="Address of the study in a viewer; empty where it is not known.")


class TroublePage(_View):
    """What needs somebody's eye, newest first."""

    total: int
    entries: tuple[TroubleView, ...]


class CaseProgressView(_View):
    """One case in the order of first drawings."""

    case_id: int
    drawn_at: float
    version: str = Field(description="Version that served when the case was first drawn; empty for none.")
    foresight: float | None = Field(
        description="Dice of that version alone on the first drawing; it had learned nothing of it."
    )
    rounds: int
    drawn: int | None = Field(description="Slices drawn; null where strokes or other planes were drawn.")
    slices: int | None
    structure: int | None = Field(description="Slices on which the latest answer shows the structure.")
    share: float | None = Field(description="`drawn` over `slices`.")
    estimated_dice: float | None


class EffortView(_View):
    """How much is drawn on some cases, and what comes of it."""

    cases: int
    share: float
    estimated_dice: float | None


class LearningCurveView(_View):
    """How a task's network and its readers' effort developed."""

    task_id: str
    total: int = Field(description="Cases on which something was drawn.")
    cases: tuple[CaseProgressView, ...] = Field(description="Oldest first; the latest ones if `limit` leaves some out.")
    first: EffortView | None = Field(description="The first cases (3 at most).")
    latest: EffortView | None = Field(description="The latest cases (5 at most), none of the first among them.")
    saved: float | None = Field(description="1 less the quotient of both shares; null before there are both.")
    foresight: float | None = Field(description="Mean of the latest cases (5 at most) that have one.")


class MemoryGroupView(_View):
    """What the replay memory holds of a task and site."""

    task_id: str
    site: str = Field(description="Keyed hash of the site; empty where it is not known.")
    cases: int
    size: int = Field(description="Bytes on disk.")
    readers: int = Field(description="Known readers.")
    held: int = Field(description="Cases held back from training, to judge versions by; not in the replay memory.")


class ReplayView(_View):
    """What a model remembers."""

    model_id: str
    version: str = Field(description="As of the training of this version; empty before the first.")
    capacity: int = Field(description="Most bytes that it may take on disk.")
    size: int = Field(description="Bytes that it takes.")
    groups: tuple[MemoryGroupView, ...]


class ProcessView(_View):
    """A process of the node."""

    name: str
    cores_used: float = Field(description="Processor cores in use, on average since the last look.")
    memory: int = Field(description="Resident bytes.")


class PartView(_View):
    """A folder of the data folder."""

    name: str
    size: int = Field(description="Bytes.")


class DiskView(_View):
    """The disk of the data folder."""

    total: int
    free: int
    parts: tuple[PartView, ...]


class GpuView(_View):
    """A GPU; null for what its driver does not tell."""

    name: str
    share: float | None = Field(description="Share of time in use.")
    memory: int | None
    memory_total: int | None


class ResourcesView(_View):
    """What the node takes of its machine."""

    cores: int
    memory_total: int
    memory_available: int
    processes: tuple[ProcessView, ...]
    disk: DiskView
    gpus: tuple[GpuView, ...]
