"""What another study of the same patient says of today's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Geometry
from learner.domain.proxy import ProxyMask

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PriorStudy:
    """A case of the same task and patient as its readers left it.

    Attributes:
        image_DHW: float32 voxels.
        geometry: their place in the patient.
        labels_DHW: uint8, the last answer to what was drawn.
        unknown_labels: labels that nobody looked for there; of these it says nothing.
        case_id: number of the case.
        study_instance_uid: its study.
    """

    image_DHW: FloatArray
    geometry: Geometry
    labels_DHW: npt.NDArray[np.uint8]
    unknown_labels: tuple[int, ...]
    case_id: int
    study_instance_uid: str


@dataclass(frozen=True, eq=False)
class CarriedPrior:
    """What came of carrying a prior study to today's images.

    Attributes:
        proxy: soft labels and confidence on today's grid, below that of any drawing; None where the studies do not match.
        agreement: local correlation of both images along the contours in [-1, 1], 0 where it was not come to.
        reason: why there is no proxy; empty where there is one.
        unknown_labels: labels of which the prior study says nothing.
    """

    proxy: ProxyMask | None
    agreement: float
    reason: str = ""
    unknown_labels: tuple[int, ...] = ()
