"""What the API and the command line tell of studies that are forgotten."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from learner.ports import ForgottenStudy
from learner.storage.store import LocalStore


class ForgottenView(BaseModel):
    """A study that is forgotten, or about to be; its UID is not kept."""

    model_config = ConfigDict(frozen=True)
    order: int = Field(description="Number of the order.")
    why: str = Field(description="`asked`, or `deleted in the archive`.")
    asked_by: str = Field(description="Who asked; empty where that is not known.")
    asked_at: float = Field(description="POSIX time.")
    rounds: tuple[int, ...] = Field(description="Numbers of its rounds.")
    purged_at: float | None = Field(description="POSIX time from which on nothing of it is in the store; null before.")
    results_to_delete: int = Field(description="Series of results that are still to be deleted in the archive.")
    results_left: int = Field(description="Series of results that the archive does not delete.")
    trainer_done: bool = Field(description="Whether the trainers' replay memories have forgotten it.")
    marked: tuple[str, ...] = Field(
        (), description="Versions, of all models, that learned from a forgotten study and are kept."
    )

    @classmethod
    def of(cls, study: ForgottenStudy, store: LocalStore) -> ForgottenView:
        """The view of an order, with all versions that are marked."""
        return cls(
            order=study.place,
            why=study.why,
            asked_by=study.asked_by,
            asked_at=study.asked_at,
            rounds=study.rounds,
            purged_at=study.purged_at,
            results_to_delete=len(study.results),
            results_left=study.left,
            trainer_done=not study.keys,
            marked=tuple(one.name for one in store.checkpoints.marked()),
        )
