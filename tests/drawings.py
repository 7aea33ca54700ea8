"""Annotation objects as they come out of the readers, for tests of the contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment, SparseAnnotation
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.domain.contract import interpret
from learner.domain.task import Label, MatchingRule, Task

LIVER, SPLEEN = Code("10200004", "SCT", "Liver"), Code("78961009", "SCT", "Spleen")
TISSUE = Code("85756007", "SCT", "Tissue")
TASK = Task(
    "abdomen",
    "Liver and spleen",
    (
        Label(1, "Liver", ANATOMICAL_STRUCTURE, LIVER, (200, 100, 50)),
        Label(2, "Spleen", ANATOMICAL_STRUCTURE, SPLEEN, (50, 100, 200)),
    ),
    MatchingRule(("CT",)),
)
SHAPE = (8, 12, 12)


def named(*names: str, kind: Code | None = None) -> Task:
    """A task whose labels have these names, and either one code or one of its own each."""
    labels = tuple(
        Label(n, name, ANATOMICAL_STRUCTURE, kind or Code(str(n), "99TEST", name), (n, n, n)) for n, name in enumerate(names, 1)
    )
    return replace(TASK, labels=labels)


def block(*slices: int, low: int = 2, high: int = 8) -> np.ndarray:
    """A square on some slices."""
    mask = np.zeros(SHAPE, dtype=bool)
    for index in slices:
        mask[index, low:high, low:high] = True
    return mask


def segment(number: int, label: str, mask: np.ndarray, kind: Code | None = None, tracking: str = "") -> DrawnSegment:
    return DrawnSegment(number, label, None, kind, mask, tracking_identifier=tracking)


def drawing(*segments: DrawnSegment, uid: str = "1.2.3", resampled: bool = False, **header: str) -> Drawing:
    described = AnnotationHeader(uid, "1.2.840.10008.5.1.4.1.1.66.4", "1.2", "1.1", "SEG", **header)
    return Drawing(described, segments, resampled=resampled)


def labels(*pairs: tuple[int, np.ndarray]) -> np.ndarray:
    """uint8 label map."""
    result = np.zeros(pairs[0][1].shape, dtype=np.uint8)
    for number, mask in pairs:
        result[mask] = number
    return result


def of_labels(labels_DHW: np.ndarray, task: Task = TASK, **more: object) -> Drawing:
    """An object that defines all labels of a task and shows a label map."""
    return drawing(*(segment(label.number, label.name, labels_DHW == label.number) for label in task.labels), **more)


def sparse(mask: np.ndarray, uid: str, reader: str = "", label: str = "Liver") -> SparseAnnotation:
    """A fresh drawing of one label."""
    found = interpret(drawing(segment(1, label, mask), uid=uid, reader=reader), TASK, []).annotation
    assert found is not None
    return found
