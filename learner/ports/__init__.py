"""What the use cases need from the world, as small protocols. Archives: :mod:`dicom_io.pacs.port`."""

from learner.ports.authors import Authors
from learner.ports.clock import Clock
from learner.ports.models import Checkpoints, Lesson, Lessons
from learner.ports.numerics import LearnReport, Network, PriorCarrier, Propagator, Trainer
from learner.ports.store import (
    REFUSAL,
    CaseFiles,
    CaseRecord,
    Jobs,
    Records,
    ResultRecord,
    Store,
)

__all__ = [
    "REFUSAL",
    "Authors",
    "CaseFiles",
    "CaseRecord",
    "Checkpoints",
    "Clock",
    "Jobs",
    "LearnReport",
    "Lesson",
    "Lessons",
    "Network",
    "PriorCarrier",
    "Propagator",
    "Records",
    "ResultRecord",
    "Store",
    "Trainer",
]
