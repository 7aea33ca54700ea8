"""What the API answers with. UIDs, numbers and reasons; never a patient attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dicom_io.codes import Code
from learner.domain.case import Case, Round, RoundState
from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.gate import Verdict
from learner.domain.next_cases import NextCase
from learner.domain.task import Task
from learner.domain.user import Role
from learner.http.names import ReaderName
from learner.ports import ResultRecord
from learner.storage.queries import JobView as StoredJob

if TYPE_CHECKING:  # commands that only look load no writers of DICOM objects
    pass


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Accepted(_View):
    """The node does it soon."""

    accepted: bool = True


class Training(_View):
    """Whether training is held back."""

    paused: bool


class Me(_View):
    """Who asks."""

    name: str = Field(description="Of the user or the token; empty where the node asks nobody.")
    role: Role
    is_person: bool = Field(description="Whether what is stored is recorded as drawn by this name.")


class Health(_View):
    """Whether the node is well."""

    status: str


class CodeView(_View):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str

    @classmethod
    def of(cls, code: Code) -> Self:
        """The view of a code."""
        return cls.model_validate(code)


class LabelView(_View):
    """One structure of a task."""

    number: int
    name: str
    category: CodeView
    type: CodeView
    colour: str = Field(description="Display colour as `#rrggbb`.")


class MatchView(_View):
    """Which image series belong to a task; the parts are regular expressions, empty for any."""

    modalities: tuple[str, ...]
    series_description: str
    body_part: str
    protocol_name: str
    study_description: str
    min_slices: int


class CheckpointView(_View):
    """One version of a model."""

    name: str
    model_id: str
    number: int
    parent: str = Field(description="The version that it was trained from; empty for the first.")
    sha256: str
    round_id: int = Field(description="The round whose learning produced it.")
    steps: int = Field(description="Training steps since the beginning of the model.")
    created_at: float = Field(description="POSIX time.")
    facts: dict[str, JsonValue] = Field(description="Losses and measurements of its training.")
    state: CheckpointState = Field(description="`shadow` answers nobody, `serving` answers, `retired` and `rolled-back` did.")
    tasks: tuple[str, ...] = Field(description="The tasks that it may answer.")
    gate: dict[str, JsonValue] = Field(description="Verdict: `serve`, `reason`, `cases`, `slices`, `figures`; or empty.")
    pinned: bool = Field(description="Whether a person chose that it serves.")
    kept: bool = Field(description="Whether its file is there, so that it may serve again.")
    from_forgotten: bool = Field(description="Whether it, or one it was trained from, learned from a study forgotten since.")

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """The view of a version."""
        return cls.model_validate(checkpoint)


class TaskView(_View):
    """What is segmented."""

    task_id: str
    title: str
    labels: tuple[LabelView, ...]
    match: MatchView
    answer_undrawn: bool
    model_id: str = Field(description="The model that serves it.")
    serving: CheckpointView | None = Field(description="The version that serves; null before the first.")

    @classmethod
    def of(cls, task: Task, serving: Checkpoint | None) -> Self:
        """The view of a task and of what serves it."""
        labels = tuple(
            LabelView(
                number=label.number,
                name=label.name,
                category=CodeView.of(label.category),
                type=CodeView.of(label.type),
                colour=f"#{bytes(label.colour).hex()}",
            )
            for label in task.labels
        )
        return cls(
            task_id=task.task_id,
            title=task.title,
            labels=labels,
            match=MatchView.model_validate(task.match),
            answer_undrawn=task.answer_undrawn,
            model_id=task.model_id,
            serving=CheckpointView.of(serving) if serving is not None else None,
        )


class ModelView(_View):
    """A model: what it serves, and where its versions stand."""

    model_id: str
    tasks: tuple[str, ...] = Field(description="The tasks that share it.")
    serving: CheckpointView | None = Field(description="The version that serves; null while none does.")
    head: CheckpointView | None = Field(description="The version that training goes on from; null before the first.")
    held_cases: int = Field(description="Drawn cases held back from training, to judge versions by.")


class FigureView(_View):
    """One label, in all cases or in those of one site, as two versions foresaw it."""

    task_id: str
    site: str = Field(description="Keyed hash of the site; empty for all.")
    label: int
    cases: int
    slices: int = Field(description="Drawn planes.")
    candidate: float = Field(description="Mean Dice of the second version.")
    serving: float | None = Field(description="Mean Dice of the first.")
    tolerance: float = Field(description="The loss of Dice that these cases cannot tell from none.")


class ComparisonView(_View):
    """Two versions on the drawn cases that neither was trained on."""

    serve: bool = Field(description="Whether the second would pass the gate if the first served.")
    reason: str
    cases: int
    slices: int
    figures: tuple[FigureView, ...]

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """The view of a verdict."""
        return cls.model_validate(verdict)


class CaseView(_View):
    """One image series of a task."""

    case_id: int
    task_id: str
    study_instance_uid: str
    series_instance_uid: str

    @classmethod
    def of(cls, case: Case) -> Self:
        """The view of a case."""
        return cls.model_validate(case)


class SuggestionView(_View):
    """A slice worth drawing next."""

    axis: int = Field(description="Array axis that it is perpendicular to; 0 for an acquired slice.")
    index: int = Field(description="Its index along that axis, from 0.")
    sop_instance_uid: str = Field("", description="Its image; empty where it is none.")
    frame_number: int = Field(0, description="Its frame, from 1; 0 for a whole object.")
    score: float = Field(description="Expected worth in [0, 1].")
    reason: str
    link: str = Field(description="Address at which a viewer opens it, the prediction laid over it; empty for none.")


class NextCaseView(_View):
    """A case on which drawing is expected to teach much."""

    case: CaseView
    score: float = Field(description="In [0, 1]; comparable within one task.")
    expected_dice: float | None = Field(description="Of the last answer, mean over labels; null where not known.")
    drawn_slices: int
    reason: str = Field(description="Why, in plain words.")

    @classmethod
    def of(cls, one: NextCase) -> Self:
        """The view of a case to draw."""
        return cls.model_validate(one)


class RoundView(_View):
    """One trigger and its answer."""

    round_id: int
    state: RoundState
    reason: str = Field(description="Why it is refused, closed or waits, with the remedy; empty otherwise.")
    number: int | None = Field(description="Round of the case; 0 is the answer before anything is drawn.")
    case: CaseView | None = Field(description="Its case; null until it is known.")
    trigger_uid: str = Field(description="The archive's identifier of the annotation object, or what named the new series.")
    series_instance_uid: str = Field(description="Series of the annotation object, or of the images in round 0.")
    reader: ReaderName = Field(description="Who drew; empty where that is not known, and for machines' tokens.")
    checkpoint: str = Field(description="The version of the model that took part; empty for none.")
    received_at: float = Field(description="POSIX time of the trigger.")
    answered_at: float | None = Field(description="POSIX time at which the whole answer stood in the archive.")
    facts: dict[str, JsonValue] = Field(description="What was measured: drawn slices, volumes, guidance, seconds ...")
    link: str = Field(description="Address at which a viewer opens the answer; empty for none.")
    guidance: tuple[SuggestionView, ...] = Field(description="Slices worth drawing next, best first.")

    @classmethod
    def of(cls, round_: Round, case: Case | None, link: Callable[[str], str] = lambda _instance: "") -> Self:
        """The view of a round and its case.

        Args:
            round_: the round.
            case: its case; None until it is known.
            link: gives the address at which a viewer opens an image of the case, or the case where the image is not named.
        """
        return cls(
            round_id=round_.round_id,
            state=round_.state,
            reason=round_.reason,
            number=round_.number,
            case=CaseView.of(case) if case is not None else None,
            trigger_uid=round_.trigger_uid,
            series_instance_uid=round_.series_instance_uid,
            reader=round_.reader,
            checkpoint=round_.checkpoint,
            received_at=round_.received_at,
            answered_at=round_.answered_at,
            facts=_json(round_.nameless_facts),
            link=link(""),
            guidance=tuple(
                SuggestionView.model_validate(
                    {**one, "link": link(str(one["sop_instance_uid"])) if one.get("sop_instance_uid") else ""}
                )
                for one in _suggestions(round_)
            ),
        )


class ResultView(_View):
    """One object that goes, or went, to the archive."""

    kind: str = Field(description="Such as `prediction` or `report`; `docs/results-objects.md` lists all.")
    sop_instance_uid: str
    series_instance_uid: str
    sent: bool = Field(description="Whether it was stored in the archive.")

    @classmethod
    def of(cls, result: ResultRecord) -> Self:
        """The view of a result."""
        return cls.model_validate(result)


class JobView(_View):
    """A piece of durable work."""

    job_id: int
    kind: str = Field(description="`respond` or `learn`.")
    round_id: int
    state: str = Field(description="`ready`, `leased`, `blocked`, `done` or `parked` (given up until a person retries).")
    attempts: int
    reason: str = Field(description="Why it waits or was given up.")

    @classmethod
    def of(cls, job: StoredJob) -> Self:
        """The view of a job."""
        return cls.model_validate(job)


class RoundDetail(_View):
    """A round with its results and jobs."""

    round: RoundView
    results: tuple[ResultView, ...]
    jobs: tuple[JobView, ...]


class CaseDetail(_View):
    """A case with its rounds, newest first."""

    case: CaseView
    rounds: tuple[RoundView, ...]


def _suggestions(round_: Round) -> list[dict[str, object]]:
    """What the facts of a round say of its guidance."""
    found = round_.facts.get("guidance")
    return found if isinstance(found, list) else []


def _json(facts: dict[str, object]) -> dict[str, JsonValue]:
    """Facts were read from JSON; the type checker does not know."""
    return facts  # type: ignore[return-value]  # json.loads gives JSON values only
