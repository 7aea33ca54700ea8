"""The residual as a float32 Parametric Map: a true heat-map in viewers that draw one."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.results import MANUFACTURER, ResultIdentity
from dicom_io.source_headers import encoded, identity_arguments, short, source_headers
from dicom_io.volume import ImageSeries
from dicom_io.write_seg import concept, fix_dimension_uid

_NO_UNITS = Code("1", "UCUM", "no units")
_DISAGREEMENT = Code("residual", "99PACSAPP", "Disagreement")


def write_residual_map(source: ImageSeries, residual_DHW: npt.NDArray[np.float32], identity: ResultIdentity) -> bytes:
    """A residual as float32 Parametric Map (PS3.3 section A.75), a frame for every slice.

    Frames ascend along cross(row, column), the order of the volume's slices, because OHIF draws a map in frame order and
    ignores where its frames lie.

    Args:
        source: the image series.
        residual_DHW: float32 in [0, 1], ``(slice, row, column)`` on the source's grid.
        identity: UIDs, texts and date of the result.

    Raises:
        ValueError: the residual does not fill the grid.
    """
    if residual_DHW.shape != source.volume.geometry.shape:
        raise ValueError(f"voxels {residual_DHW.shape} do not fill the source's grid {source.volume.geometry.shape}")
    with lenient():
        dataset = hd.pm.ParametricMap(
            source_images=source_headers(source),
            pixel_array=np.ascontiguousarray(residual_DHW, dtype=np.float32),
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            device_serial_number="1",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[
                hd.pm.RealWorldValueMapping(
                    lut_label="RESIDUAL",
                    lut_explanation="Disagreement, 0 to 1",
                    unit=concept(_NO_UNITS),
                    value_range=(0.0, 1.0),
                    slope=1.0,
                    intercept=0.0,
                    quantity_definition=concept(_DISAGREEMENT),
                )
            ],
            voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
            content_label="RESIDUAL_MAP",
            content_description=short(f"{identity.task_id}, round {identity.round_number}; research use"),
            **identity_arguments(identity),
        )
        fix_dimension_uid(dataset, identity)
        dataset.Laterality = ""  # type 2C of the General Series module; highdicom leaves it out, validators miss it
        _order_frames(dataset, source)
    return encoded(dataset, identity.created)


def _order_frames(dataset: Dataset, source: ImageSeries) -> None:
    """Frames, their functional groups and dimension indices in the order of the source's slices."""
    by_uid = {uid: index for index, uid in enumerate(source.volume.series.sop_instance_uids)}
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    slices = [by_uid[g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID] for g in groups]
    if sorted(slices) != list(range(len(source.headers))):
        raise AssertionError("highdicom left a slice out of the map")
    order = np.argsort(slices)
    size = dataset.Rows * dataset.Columns
    frames = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(len(groups), size)
    dataset.FloatPixelData = frames[order].tobytes()
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence([groups[int(index)] for index in order])
    descending = len(groups) > 1 and bool(order[0] > order[-1])
    for place, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        content = group.FrameContentSequence[0]
        if descending:
            content.DimensionIndexValues = place
        if "InStackPositionNumber" in content:
            content.InStackPositionNumber = place
