"""What the trainer learns from: an image, what a reader drew on it, and the proxy mask made from that."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.contract import with_label_count
from learner.domain.proxy import ProxyMask, with_classes


@dataclass(frozen=True, eq=False)
class Example:
    """One case as the trainer sees it. No identity in it: ``key`` is a keyed hash.

    Attributes:
        key: keyed hash of the series; a later example of the same case replaces the earlier one.
        task_id: the task that it belongs to.
        round_number: round of the case that it comes from.
        image_DHW: float32 voxels as the series gives them.
        spacing_DHW: distance of neighbouring voxel centres in mm.
        annotation: human drawing, and nothing else.
        proxy: the proxy mask propagated from ``annotation``.
        agreement_DHW: float32 in [0, 1], the share of the readers who drew a voxel that agree with ``annotation`` there; None
            where nobody disagrees. Known voxels count by it.
        site: keyed hash of where the images were made; empty where that is not known.
        reader: keyed hash of who drew; empty where that is not known.
    """

    key: str
    task_id: str
    round_number: int
    image_DHW: npt.NDArray[np.float32]
    spacing_DHW: tuple[float, float, float]
    annotation: SparseAnnotation
    proxy: ProxyMask
    agreement_DHW: npt.NDArray[np.float32] | None = None
    site: str = ""
    reader: str = ""

    def __post_init__(self) -> None:
        if not self.image_DHW.shape == self.annotation.labels_DHW.shape == self.proxy.confidence_DHW.shape:
            raise ValueError("image, annotation and proxy mask of an example differ in shape")
        if self.agreement_DHW is not None and self.agreement_DHW.shape != self.image_DHW.shape:
            raise ValueError("image and agreement of an example differ in shape")

    @property
    def label_count(self) -> int:
        """Number of labels L of the task."""
        return self.annotation.label_count

    def with_label_count(self, label_count: int) -> Example:
        """The example as of a task that gained labels since: they are unknown in it.

        Raises:
            ValueError: if it has more labels than that.
        """
        if label_count == self.annotation.label_count:
            return self
        soft_CDHW = with_classes(self.proxy.soft_CDHW, label_count)
        return replace(
            self, annotation=with_label_count(self.annotation, label_count), proxy=replace(self.proxy, soft_CDHW=soft_CDHW)
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was drawn on a case was taken back, all of it: nothing of it is to be learned from any more.

    Attributes:
        key: keyed hash of the series, as of its examples.
        task_id: the task that it belongs to.
        label_count: labels L of the task.
    """

    key: str
    task_id: str
    label_count: int
