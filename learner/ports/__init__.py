"""What the use cases need from the world, as small protocols. Archives: :mod:`dicom_io.pacs.port`."""

from learner.ports.numerics import LearnReport, Network, Propagator, Trainer
from learner.ports.store import REFUSAL, CaseFiles, CaseRecord, Checkpoints, Clock, Jobs, Records, ResultRecord, Store

__all__ = [
    "REFUSAL",
    "CaseFiles",
    "CaseRecord",
    "Checkpoints",
    "Clock",
    "Jobs",
    "LearnReport",
    "Network",
    "Propagator",
    "Records",
    "ResultRecord",
    "Store",
    "Trainer",
]
