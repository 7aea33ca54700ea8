"""Versions of models, and what each model has met, as the use cases see them; they share the transactions of their store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from learner.domain.checkpoint import Checkpoint
from learner.domain.gate import Verdict


@dataclass(frozen=True, slots=True)
class Lesson:
    """A case that a model has met.

    Attributes:
        case_id: the case.
        model_id: the model.
        task_id: its task.
        site: keyed hash of where it comes from; empty where that is not known.
        round_id: the latest round whose example was taken in.
        held: whether its example is held back from training, to judge versions by.
    """

    case_id: int
    model_id: str
    task_id: str
    site: str
    round_id: int
    held: bool


class Lessons(Protocol):
    """Which cases each model was trained on, and which are held back from it."""

    def of_model(self, model_id: str) -> tuple[Lesson, ...]:
        """All cases that a model has met, in the order in which they first came."""
        ...

    def put(self, lesson: Lesson) -> None:
        """Records a case, or changes what is recorded of it; its place in the order stays."""
        ...

    def release_older(self, before: float) -> int:
        """Holds cases back no longer whose round is from before a time; returns how many there were."""
        ...

    def drop(self, case_id: int) -> None:
        """Forgets that a model met a case; one that is not known is no error."""
        ...


class Checkpoints(Protocol):
    """Versions of models. Of each model at most one serves, and one is the head, from which training goes on."""

    def add(
        self, model_id: str, state: bytes, *, round_id: int, steps: int, facts: dict[str, object], anew: bool = False
    ) -> Checkpoint:
        """Writes ``state`` to disk, synced and hashed, and records it as the newest version of the model, in shadow.

        It becomes the head; the head before is its parent, unless it was trained ``anew``. Then it has none, and the fact
        ``learned_cases`` lists the numbers of the cases that it was trained from.
        """
        ...

    def marked(self) -> tuple[Checkpoint, ...]:
        """Versions of all models that learned from a forgotten study and whose files are kept."""
        ...

    def drop_marked(self, model_id: str, *, all_of_them: bool) -> tuple[Checkpoint, ...]:
        """Removes the files of versions that learned from a forgotten study, and returns these versions.

        Args:
            model_id: the model.
            all_of_them: also the version that serves and the head; then none serves, and training goes on from the newest
                that is not marked, or begins anew.
        """
        ...

    def head(self, model_id: str) -> Checkpoint | None:
        """The version that training goes on from, or None before the first."""
        ...

    def serving(self, model_id: str) -> Checkpoint | None:
        """The version that serves, or None while none does."""
        ...

    def history(self, model_id: str) -> tuple[Checkpoint, ...]:
        """All versions of a model whose files are kept, newest first."""
        ...

    def versions(self, model_id: str) -> tuple[Checkpoint, ...]:
        """All versions of a model that there ever were, newest first."""
        ...

    def judge(self, checkpoint: Checkpoint, verdict: Verdict) -> Checkpoint:
        """Records the gate's verdict. A version that passed serves, and the one that served before is retired."""
        ...

    def roll_back(self, checkpoint: Checkpoint, *, retrain: bool) -> Checkpoint:
        """A person chose that a version serves: it is pinned, and the one that served before is rolled back.

        Args:
            checkpoint: a version whose file is kept.
            retrain: whether training goes on from it, too; later versions are then rolled back as well.
        """
        ...

    def prune(self, model_id: str) -> None:
        """Removes the files of old versions, and files that no version has; records stay, and so do files that may be needed.

        For the model's trainer, which alone writes such files.

        These are the newest ones, the head, the version that serves, and the latest that served before it.
        """
        ...

    def read(self, checkpoint: Checkpoint) -> bytes:
        """Its state.

        Raises:
            CorruptFile: if the file is gone or does not have the recorded hash.
        """
        ...
