"""What the trainer learns from: an image, what a reader drew on it, and the proxy mask made from that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.proxy import ProxyMask


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
    """

    key: str
    task_id: str
    round_number: int
    image_DHW: npt.NDArray[np.float32]
    spacing_DHW: tuple[float, float, float]
    annotation: SparseAnnotation
    proxy: ProxyMask
    agreement_DHW: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.image_DHW.shape == self.annotation.labels_DHW.shape == self.proxy.confidence_DHW.shape:
            raise ValueError("image, annotation and proxy mask of an example differ in shape")
