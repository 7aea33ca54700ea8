"""Every annotation object among the real data is read right, and every image is refused as what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pytest
from dicom_phantoms import make_series
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.annotation_header import MODALITIES
from dicom_io.datasets import lenient, text
from dicom_io.errors import UnsupportedObject
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

pytestmark = pytest.mark.data

DCMQI = {
    "seg_dcmqi/23x38x3/seg/label.seg": ("seg_dcmqi/23x38x3/image", "seg_dcmqi/23x38x3/multiframe"),
    "seg_dcmqi/24x38x3/seg/label.seg": ("seg_dcmqi/24x38x3/image", "seg_dcmqi/24x38x3/multiframe"),
    "seg_dcmqi/liver.dcm": ("seg_dcmqi/ct-3slice",),
}
"""SEGs of dcmqi, and the folders of their images."""
HIGHDICOM = tuple(
    f"seg_highdicom/seg_image_ct_{kind}.dcm"
    for kind in ("binary", "binary_fractional", "binary_overlap", "binary_single_frame", "true_fractional")
)
REPORTS = {
    "seg_highdicom/sr_document.dcm": {"Planar ROI Measurements": np.pi * 11**2},
    "seg_highdicom/sr_document_with_multiple_groups.dcm": {"LungNodule0001": np.pi * 10**2},
    "sr_tid1500_dwv/sr-roi.dcm": {"eqipgqt99rj": 7.1, "label": 15.1},
    "sr_tid1500_dwv/sr-rectangle.dcm": {"{surface}": 72.0},
}
"""SRs, and the areas in pixels that their shapes enclose, by label."""
STRUCTURES = ("rtstruct_aria/RS_Body_SpinalCord.dcm",)
"""Compared with its mask in ``test_read_rtstruct``."""


def test_the_tables_name_every_annotation_and_all_else_is_refused(data_dir: Path) -> None:
    named = {*DCMQI, *HIGHDICOM, *REPORTS, *STRUCTURES}
    found = set()
    for path in sorted(path for path in (data_dir / "dicom").rglob("*") if path.suffix in {".dcm", ".seg"}):
        name = str(path.relative_to(data_dir / "dicom"))
        with lenient():
            class_uid = text(dcmread(path, stop_before_pixels=True), "SOPClassUID")
        if class_uid in MODALITIES:
            found.add(name)
            assert inspect(path.read_bytes()).modality == MODALITIES[class_uid]
        else:
            with pytest.raises(UnsupportedObject, match="is no annotation"):
                inspect(path.read_bytes())
    assert found == named


@pytest.mark.parametrize(("name", "images"), [(name, images) for name, folders in DCMQI.items() for images in folders])
def test_segmentations_of_dcmqi_are_read_as_dcmqi_and_highdicom_read_them(
    data_dir: Path, tmp_path: Path, name: str, images: str
) -> None:
    source = read_series(path.read_bytes() for path in (data_dir / "dicom" / images).glob("*.dcm"))
    path = data_dir / "dicom" / name
    drawing = read_annotation(path.read_bytes(), source)
    assert [segment.label for segment in drawing.segments] == ["Liver"]
    assert drawing.remarks == ()
    mask_DHW = drawing.segments[0].mask_DHW
    assert np.array_equal(mask_DHW, _by_dcmqi(path, tmp_path, source))
    if source.slices[0].frame_number == 0:
        assert np.array_equal(mask_DHW, _by_highdicom(path, [one.sop_instance_uid for one in source.slices])[0])


@pytest.mark.parametrize("name", HIGHDICOM)
def test_segmentations_of_highdicom_are_read_as_highdicom_reads_them(data_dir: Path, name: str) -> None:
    path = data_dir / "dicom" / name
    source = _blank_source(path)
    drawing = read_annotation(path.read_bytes(), source)
    named = [one.sop_instance_uid for one in source.slices if one.sop_instance_uid in _referenced(path)]
    planes = [one.plane for one in source.slices if one.sop_instance_uid in named]
    expected = _by_highdicom(path, named)
    assert len(expected) == len(drawing.segments)
    for segment, mask_DHW in zip(drawing.segments, expected, strict=True):
        assert np.array_equal(segment.mask_DHW[planes], mask_DHW)
        assert int(segment.mask_DHW.sum()) == int(mask_DHW.sum())
    assert any(segment.mask_DHW.any() for segment in drawing.segments)


@pytest.mark.parametrize("name", REPORTS)
def test_closed_shapes_of_reports(data_dir: Path, name: str) -> None:
    file = (data_dir / "dicom" / name).read_bytes()
    (uid,) = inspect(file).referenced_sop_instance_uids
    drawing = read_annotation(file, _blank_series((2, 512, 512), [uid]))
    assert [segment.label for segment in drawing.segments] == list(REPORTS[name])
    for segment, area in zip(drawing.segments, REPORTS[name].values(), strict=True):
        assert segment.planes == {(0, 0)}
        assert segment.mask_DHW[0].sum() == segment.mask_DHW.sum() == pytest.approx(area, rel=0.02, abs=1.0)


def _by_highdicom(path: Path, uids: Sequence[str]) -> list[np.ndarray]:
    """Masks ``(slice, row, column)`` of all segments on the images named."""
    with lenient():
        segmentation = hd.seg.segread(path)
        stored = segmentation.get_pixels_by_source_instance(
            uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True, rescale_fractional=False
        )
        fractional = text(segmentation, "SegmentationType") == "FRACTIONAL"
        least = int(segmentation.MaximumFractionalValue) / 2 if fractional else 1
    return [stored[..., index] >= least for index in range(stored.shape[-1])]


def _by_dcmqi(path: Path, folder: Path, source: ImageSeries) -> np.ndarray:
    """The mask of the only segment, by way of NIfTI (RAS millimetres)."""
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [program, "--inputDICOM", path, "--outputDirectory", folder, "-t", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    image = nibabel.load(folder / "1.nii.gz")
    foreground = np.argwhere(np.asarray(image.dataobj) != 0)
    positions = foreground @ image.affine[:3, :3].T + image.affine[:3, 3]
    indices = np.rint(source.volume.geometry.to_index(positions * [-1, -1, 1])).astype(int)
    mask_DHW = np.zeros(source.volume.geometry.shape, bool)
    mask_DHW[tuple(indices.T)] = True
    return mask_DHW


def _referenced(path: Path) -> tuple[str, ...]:
    return inspect(path.read_bytes()).referenced_sop_instance_uids


def _blank_source(path: Path) -> ImageSeries:
    """Blank slices at the places, and with the UIDs, that the frames of a SEG name; its own images are not at hand."""
    with lenient():
        dataset = dcmread(BytesIO(path.read_bytes()))
        shared = dataset.SharedFunctionalGroupsSequence[0]
        places: dict[tuple[float, ...], str] = {}
        for group in dataset.PerFrameFunctionalGroupsSequence:
            position = tuple(float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient)
            places[position] = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    ordered = sorted(places, key=lambda place: place[2])
    if len(ordered) > 3:
        ordered = ordered[1:]  # lies 200 mm from the others and is empty
    if len(ordered) == 1:
        ordered.append((*ordered[0][:2], ordered[0][2] + 5.0))

    def place(image: Dataset, index: int) -> None:
        image.ImagePositionPatient = list(ordered[index])
        image.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        image.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        image.SOPInstanceUID = places.get(ordered[index], "1.2.3.4")
        image.FrameOfReferenceUID = dataset.FrameOfReferenceUID

    return read_series(make_series((len(ordered), dataset.Rows, dataset.Columns), edit=place))


def _blank_series(shape: tuple[int, int, int], uids: Sequence[str]) -> ImageSeries:
    def name(image: Dataset, index: int) -> None:
        if index < len(uids):
            image.SOPInstanceUID = uids[index]

    return read_series(make_series(shape, voxels_DHW=np.zeros(shape, np.uint16), edit=name))
