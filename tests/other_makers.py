"""What viewers make of an object that they save, and how they trace a mask."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy import ndimage

from dicom_io.contours import outlines


def changed(file: bytes, change: Callable[[Dataset], None]) -> bytes:
    dataset = dcmread(BytesIO(file))
    change(dataset)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def restamp(dataset: Dataset) -> None:
    """What a viewer writes of an object that it saves: it is its own, and drawn by hand."""
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "Viewer", "Viewer 9", "9"
    dataset.ContentCreatorName, dataset.SeriesDescription = "Bob", "Segmentation"
    for segment in dataset.get("SegmentSequence", ()):
        segment.SegmentAlgorithmType = "MANUAL"
        for keyword in ("SegmentAlgorithmName", "TrackingID", "TrackingUID"):
            if keyword in segment:
                delattr(segment, keyword)


def half_way(mask_HW: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    return outlines(mask_HW)


def centres(mask_HW: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """As cv2 traces: corners alone, at the centres of the outermost pixels."""
    found, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return [points[:, 0].astype(float) for points in found if len(points) > 2]


def smoothed(mask_HW: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """As viewers that show surfaces do: corners are cut."""
    return [ndimage.gaussian_filter1d(points, 1.0, axis=0, mode="wrap") for points in outlines(mask_HW)]
