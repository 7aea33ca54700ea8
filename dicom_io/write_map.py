"""The residual as a float32 Parametric Map: a true heat-map in viewers that draw one."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.result_dataset import concept
from dicom_io.results import ResultIdentity
from dicom_io.volume import ImageSeries
from dicom_io.write_frames import Frame, PixelElement, encode_frames, multi_frame_dataset

PARAMETRIC_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
_FLOAT_PIXEL_DATA = 0x7FE00008
_FRAME_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
_NO_UNITS = Code("1", "UCUM", "no units")
_DISAGREEMENT = Code("residual", "99PACSAPP", "Disagreement")
_METHOD = Code("112187", "DCM", "Unspecified method of calculation")


def write_residual_map(source: ImageSeries, residual_DHW: npt.NDArray[np.float32], identity: ResultIdentity) -> bytes:
    """A residual as float32 Parametric Map (PS3.3 section A.75), a frame for every acquired slice.

    Frames ascend along cross(row, column), the order of the acquired slices, because OHIF draws a map in frame order and
    ignores where its frames lie.

    Args:
        source: the image series.
        residual_DHW: float32 in [0, 1], ``(slice, row, column)`` on the source's volume.
        identity: UIDs, texts and date of the result.

    Raises:
        ValueError: the residual does not fill the volume.
    """
    residual_SHW = np.ascontiguousarray(source.onto_slices(residual_DHW), dtype="<f4")
    dataset = multi_frame_dataset(source, identity, PARAMETRIC_MAP_CLASS, "OT")
    dataset.ImageType, dataset.PixelPresentation, dataset.ContentQualification = _FRAME_TYPE, "MONOCHROME", "RESEARCH"
    dataset.RecognizableVisualFeatures, dataset.AcquisitionContextSequence = "NO", []
    dataset.ContentLabel, dataset.BitsAllocated = "RESIDUAL_MAP", 32
    dataset.Laterality = ""  # type 2C of the General Series module; validators miss it in a map
    dataset.SharedFunctionalGroupsSequence[0].update(_value_groups())
    frames = [Frame(0, place) for place in range(len(source.slices))]
    pixels = (plane_HW.tobytes() for plane_HW in residual_SHW)
    element = PixelElement(_FLOAT_PIXEL_DATA, b"OF", residual_SHW.nbytes)
    return encode_frames(dataset, source, frames, pixels, element, _METHOD)


def _value_groups() -> Dataset:
    """What the values of all frames mean, and how they are shown (PS3.3 sections C.7.6.16.2.9 to 11 and C.8.32.3)."""
    groups, window, rescale, frame_type = Dataset(), Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "0.5", "1.0"
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = "0.0", "1.0", "US"
    frame_type.FrameType = _FRAME_TYPE
    groups.FrameVOILUTSequence, groups.PixelValueTransformationSequence = [window], [rescale]
    groups.ParametricMapFrameTypeSequence = [frame_type]
    with lenient():
        groups.RealWorldValueMappingSequence = [
            hd.pm.RealWorldValueMapping(
                lut_label="RESIDUAL",
                lut_explanation="Disagreement, 0 to 1",
                unit=concept(_NO_UNITS),
                value_range=(0.0, 1.0),
                slope=1.0,
                intercept=0.0,
                quantity_definition=concept(_DISAGREEMENT),
            )
        ]
    return groups
