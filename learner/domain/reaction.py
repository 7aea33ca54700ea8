"""What a reader did with an answer, as the objects tell that they store or delete."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ReactionKind(StrEnum):
    """Kinds of reactions. An answer after which nothing came from the study has none."""

    UNCHANGED = "unchanged"
    """It was saved again as it was; nothing was said of it."""
    CONFIRMED = "confirmed"
    """It was accepted as it was, on some slices or as a whole."""
    EDITED = "edited"
    """It was mended on some slices and saved."""
    DRAWN_ANEW = "drawn anew"
    """The reader drew slices of their own, without the answer's voxels."""
    REJECTED = "rejected"
    """It was deleted in the archive, and the images were not."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a reader did with the answer of a round.

    Attributes:
        round_id: the round whose answer it is.
        kind: what was done.
        share: of edited answers, voxels changed over those shown; of slices drawn anew, voxels that differ from the answer
            there over those that it shows there, at most 1; else 0.
        slices: on how many slices (or other planes) something was said.
    """

    round_id: int
    kind: ReactionKind
    share: float = 0.0
    slices: int = 0

    def facts(self) -> dict[str, Any]:
        """As plain data, without the round."""
        return {"kind": str(self.kind), "share": round(self.share, 4), "slices": self.slices}
