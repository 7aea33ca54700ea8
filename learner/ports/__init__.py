"""What the use cases need from the world, as small protocols. Archives: :mod:`dicom_io.pacs.port`."""

from learner.ports.models import Checkpoints, Lesson, Lessons
from learner.ports.numerics import GuidanceRule, LearnReport, Network, PriorCarrier, Propagator, Trainer
from learner.ports.store import (
    REFUSAL,
    CaseFiles,
    CaseRecord,
    Clock,
    Jobs,
    Records,
    ResultRecord,
    Store,
)

__all__ = [
    "REFUSAL",
    "CaseFiles",
    "CaseRecord",
    "Checkpoints",
    "Clock",
    "GuidanceRule",
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
