"""Arrays on disk, as the use cases see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from dicom_io.thumbnails import Thumbnail
from learner.domain.example import Example, Withdrawal
from learner.domain.pooling import Evidence


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """What a case has come to after a round; the next round starts from it.

    Attributes:
        drawing: what this round's object added, or None in a round that none asked for.
        annotation: everything that readers drew so far, or None before the first drawing.
        labels_DHW: the round's answer, uint8; later drawings are compared with it.
        back_end_CDHW: the network's probabilities, float16, or None without a model.
        evidence: how both ends did on slices left out, or None; later cases learn from it how far to trust each.
        pictures: a few slices of the answer, small, for the node's page.
    """

    drawing: SparseAnnotation | None
    annotation: SparseAnnotation | None
    labels_DHW: npt.NDArray[np.uint8]
    back_end_CDHW: npt.NDArray[np.float16] | None
    evidence: Evidence | None = None
    pictures: tuple[Thumbnail, ...] = ()


class CaseFiles(Protocol):
    """Arrays on disk: each round's record, the outbox, and examples on their way to the trainer."""

    def put_record(self, round_id: int, record: CaseRecord) -> None:
        """Keeps what a case has come to."""
        ...

    def get_record(self, round_id: int) -> CaseRecord:
        """What ``put_record`` kept.

        Raises:
            CorruptFile.
        """
        ...

    def get_evidence(self, round_id: int) -> Evidence | None:
        """The evidence of the record that ``put_record`` kept; the rest of the record is not read.

        Raises:
            CorruptFile.
        """
        ...

    def get_pictures(self, round_id: int) -> tuple[Thumbnail, ...]:
        """The pictures of the record that ``put_record`` kept, none in those of earlier versions; the rest is not read.

        Raises:
            CorruptFile.
        """
        ...

    def put_outgoing(self, sop_instance_uid: str, file: bytes) -> str:
        """Keeps a DICOM file until it is sent; returns its path relative to the data folder."""
        ...

    def get_outgoing(self, path: str) -> bytes:
        """A file of the outbox.

        Raises:
            CorruptFile.
        """
        ...

    def drop_outgoing(self, path: str) -> None:
        """Removes a file of the outbox; one that is gone is no error."""
        ...

    def put_example(self, round_id: int, example: Example | Withdrawal) -> None:
        """Keeps what a learn job will learn from, or forget."""
        ...

    def get_example(self, round_id: int) -> Example | Withdrawal:
        """What ``put_example`` kept.

        Raises:
            CorruptFile.
        """
        ...

    def drop_example(self, round_id: int) -> None:
        """Removes it; one that is gone is no error."""
        ...
