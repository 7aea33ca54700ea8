"""Sources of every geometry, and every kind of object that is written for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from dicom_phantoms import CREATED, SEGMENTS, blobs, identity, make_series
from enhanced_phantoms import ENHANCED_CT, make_enhanced
from pydicom.dataset import Dataset

from dicom_io.datasets import lenient
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.results import LabelMeasurement, SuggestedSlice
from dicom_io.volume import ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_refusal import write_refusal
from dicom_io.write_report import ReportContent, write_report
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_bands, write_residual_fractional

SHAPE = (6, 21, 27)
SUGGESTIONS = (SuggestedSlice(3, 0.9, "far from drawn slices"), SuggestedSlice(1, 0.2, "Überlappung \\ residual"))
MEASUREMENTS = (LabelMeasurement(SEGMENTS[0], 1.5, None, None), LabelMeasurement(SEGMENTS[1], 2.5, 2.25, 0.875))


def malformed(dataset: Dataset, _: int) -> None:
    """What archives really hold: impossible dates, texts that are too long, private values of no known kind."""
    with lenient():
        dataset.StudyDate, dataset.PatientBirthDate, dataset.StudyTime = "1999.13.45", "unknown", "25:99"
        dataset.AccessionNumber, dataset.StudyID, dataset.PatientSex = "far too long for a short string", "x" * 40, "female"
        dataset.ReferringPhysicianName, dataset.PatientAge, dataset.PatientWeight = "A=B=C=D=E", "old", "1e400"
        dataset.StudyDescription, dataset.Manufacturer = "y" * 90, "z" * 90
        dataset.ImagePositionPatient = [f"{float(v):.17f}" for v in dataset.ImagePositionPatient]
        dataset.add_new(0x00111010, "UN", b"\xff\xfe\x00")


def umlauts(dataset: Dataset, _: int) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller^Jürgen"


def _moved(dataset: Dataset, index: int) -> None:
    """Slices at uneven distances."""
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + (0.0, 0.5, 0.2, -0.4, 0.6, 0.1)[index]]


SOURCES: dict[str, Callable[[], ImageSeries]] = {
    "axial": lambda: read_series(make_series(SHAPE)),
    "oblique": lambda: read_series(make_series(SHAPE, angles=(0.4, -0.3, 2.0))),
    "whole-bytes": lambda: read_series(make_series((6, 16, 24))),
    "no-frame-of-reference": lambda: read_series(make_series(SHAPE, frame_of_reference="")),
    "malformed": lambda: read_series(make_series(SHAPE, edit=malformed)),
    "latin-1": lambda: read_series(make_series(SHAPE, edit=umlauts)),
    "tilted": lambda: read_series(make_series(SHAPE, shear=(0.0, 0.8, 0.0))),
    "uneven": lambda: read_series(make_series(SHAPE, edit=_moved)),
    "missing-slice": lambda: read_series(f for i, f in enumerate(make_series((9, 21, 27))) if i != 4),
    "multi-frame": lambda: read_series(make_enhanced(SHAPE, angles=(0.4, -0.3, 2.0))),
    "multi-frame-ct": lambda: read_series(
        make_enhanced(SHAPE, sop_class=ENHANCED_CT, order=(3, 0, 5, 1, 4, 2), per_frame_geometry=True)
    ),
    "two-instances": lambda: read_series(make_enhanced(SHAPE, instances=2)),
}


def labels_of(series: ImageSeries, count: int = 2) -> npt.NDArray[np.uint8]:
    """Labels on the volume of a source, inside of its acquired slices."""
    return series.onto_volume(series.onto_slices(blobs(series.volume.geometry.shape, count)))


def residual_of(series: ImageSeries) -> npt.NDArray[np.float32]:
    """A residual from 0 to 1 on the volume of a source."""
    shape = series.volume.geometry.shape
    return np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _report(series: ImageSeries) -> ReportContent:
    return ReportContent(SUGGESTIONS, MEASUREMENTS, residual_of(series), labels_of(series), identity("prediction"))


def _drawn(series: ImageSeries) -> dict[int, npt.NDArray[np.bool_]]:
    return {number: labels_of(series) == number for number in (1, 2)}


OBJECTS: dict[str, Callable[[ImageSeries], bytes]] = {
    "prediction": lambda s: write_prediction(s, labels_of(s), SEGMENTS, identity()),
    "empty-prediction": lambda s: write_prediction(s, labels_of(s) * 0, SEGMENTS, identity()),
    "semiautomatic": lambda s: write_prediction(s, labels_of(s), SEGMENTS, identity(), with_drawing=True),
    "bands": lambda s: write_residual_bands(s, residual_of(s), identity()),
    "no-bands": lambda s: write_residual_bands(s, residual_of(s) * 0, identity()),
    "fractional": lambda s: write_residual_fractional(s, residual_of(s), identity()),
    "no-fractional": lambda s: write_residual_fractional(s, residual_of(s) * 0, identity()),
    "map": lambda s: write_residual_map(s, residual_of(s), identity()),
    "key-objects": lambda s: write_key_objects(s, SUGGESTIONS, identity()),
    "report": lambda s: write_report(s, _report(s), identity()),
    "report-3d": lambda s: write_report(s, _report(s), identity(), "comprehensive-3d"),
    "report-without-suggestion": lambda s: write_report(
        s, ReportContent((), MEASUREMENTS, residual_of(s) * 0, labels_of(s), identity("prediction")), identity()
    ),
    "contours": lambda s: write_contours(s, labels_of(s), SEGMENTS, identity()),
    "capture": lambda s: write_captures(s, SUGGESTIONS, labels_of(s), residual_of(s), SEGMENTS, identity())[0][1],
    "refusal": lambda s: write_refusal(
        OBJECTS["prediction"](s), "it names no image series", "Store it with a reference to its images.", identity()
    ),
    "reader-seg": lambda s: write_drawing_seg(s, _drawn(s), SEGMENTS, "R^A", "drawn", created=CREATED),
    "reader-sr": lambda s: write_contour_sr(s, _drawn(s), SEGMENTS, "R^A", "drawn", created=CREATED),
}
