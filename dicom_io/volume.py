"""An image series as one array with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Geometry


@dataclass(frozen=True)
class SeriesReference:
    """What an object needs to refer to an image series.

    Attributes:
        study_instance_uid: Study Instance UID (0020,000D).
        series_instance_uid: Series Instance UID (0020,000E).
        sop_class_uid: SOP Class UID (0008,0016) that all instances share.
        sop_instance_uids: SOP Instance UID (0008,0018) of each slice, in the order of the volume's slice axis.
        modality: Modality (0008,0060).
        series_description: Series Description (0008,103E), empty where absent.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    modality: str
    series_description: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels, their geometry and where they come from; read-only.

    Attributes:
        voxels_DHW: float32 array of the geometry's shape, after rescale (CT: Hounsfield units).
        geometry: place and size of the voxels.
        series: the series that the voxels come from.
        unit: Rescale Type (0028,1054) or an empty string.

    Raises:
        ValueError: if the shapes disagree, or there is not one SOP Instance UID a slice.
    """

    voxels_DHW: npt.NDArray[np.float32]
    geometry: Geometry
    series: SeriesReference
    unit: str = ""

    def __post_init__(self) -> None:
        if self.voxels_DHW.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.voxels_DHW.shape} do not fill the grid {self.geometry.shape}")
        if len(self.series.sop_instance_uids) != self.geometry.shape[0]:
            raise ValueError("a volume needs one SOP Instance UID for each slice")
        self.voxels_DHW.setflags(write=False)


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """A volume and the headers that results are written from.

    Attributes:
        volume: the voxels.
        headers: one pydicom ``Dataset`` without pixel data for each slice, in the order of the volume's slice axis.
            Typed ``Any`` so that this module stays free of pydicom.
        remarks: what a technologist should know of how the series was read, one sentence each.
    """

    volume: Volume
    headers: tuple[Any, ...]
    remarks: tuple[str, ...] = ()
