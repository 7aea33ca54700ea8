"""What the use cases need from the world, as small protocols. Archives: :mod:`dicom_io.pacs.port`."""

from learner.ports.audit import Audit
from learner.ports.authors import Authors
from learner.ports.clock import Clock
from learner.ports.files import CaseFiles, CaseRecord
from learner.ports.forgotten import Forgotten, ForgottenStudy
from learner.ports.models import Checkpoints, Lesson, Lessons
from learner.ports.numerics import GuidanceRule, LearnReport, Network, PriorCarrier, Propagator, Remembered, Trainer
from learner.ports.store import (
    Jobs,
    Records,
    ResultRecord,
    Store,
)

__all__ = [
    "Audit",
    "Authors",
    "CaseFiles",
    "CaseRecord",
    "Checkpoints",
    "Clock",
    "Forgotten",
    "ForgottenStudy",
    "GuidanceRule",
    "Jobs",
    "LearnReport",
    "Lesson",
    "Lessons",
    "Network",
    "PriorCarrier",
    "Propagator",
    "Records",
    "Remembered",
    "ResultRecord",
    "Store",
    "Trainer",
]
