from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import edited, make_series, rotation
from pydicom.dataset import Dataset

from dicom_io.datasets import lenient, text
from dicom_io.errors import DicomIoError, InvalidObject, SeriesNotAVolume, UnsupportedObject
from dicom_io.identifiers import derived_uid
from dicom_io.read_series import read_series


def folder(path: Path, pattern: str = "*.dcm") -> list[bytes]:
    return [file.read_bytes() for file in sorted(path.glob(pattern))]


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, -0.2, 1.1), (np.pi / 2, 0.0, 0.0), (0.0, np.pi, 0.0)])
def test_slices_are_sorted_along_the_normal_and_voxels_lie_where_the_headers_say(angles: tuple[float, ...]) -> None:
    files = make_series((4, 6, 5), (2.5, 0.7, 0.9), angles)
    series = read_series([files[2], files[0], files[3], files[1]])
    turn = rotation(angles)
    expected = (
        np.array([-10.0, 5.0, 30.0]) + 3 * 2.5 * np.cross(turn[:, 0], turn[:, 1]) + 2 * 0.7 * turn[:, 1] + 4 * 0.9 * turn[:, 0]
    )
    assert np.allclose(series.volume.geometry.to_patient((3, 2, 4)), expected, atol=1e-6)
    assert np.array_equal(series.volume.voxels_DHW, np.arange(120, dtype=np.float32).reshape(4, 6, 5))
    assert series.volume.series.sop_instance_uids == tuple(derived_uid("image", str(i)) for i in range(4))
    assert [text(header, "InstanceNumber") for header in series.headers] == ["1", "2", "3", "4"]
    assert all("PixelData" not in header for header in series.headers)
    assert np.linalg.det(series.volume.geometry.affine[:3, [2, 1, 0]]) > 0
    assert series.remarks == ()


def test_rescale_is_applied_slice_by_slice() -> None:
    def rescale(dataset: Dataset, index: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 2, -index, "HU"

    series = read_series(make_series((3, 4, 4), edit=rescale))
    stored = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
    assert np.array_equal(series.volume.voxels_DHW, stored * 2 - np.arange(3, dtype=np.float32)[:, None, None])
    assert series.volume.unit == "HU"


def test_monochrome1_is_inverted_with_a_remark() -> None:
    series = read_series(make_series((2, 3, 3), edit=lambda d, _: setattr(d, "PhotometricInterpretation", "MONOCHROME1")))
    assert np.array_equal(series.volume.voxels_DHW.ravel(), np.arange(18, dtype=np.float32)[::-1])
    assert "MONOCHROME1" in series.remarks[0]


def test_missing_frame_of_reference_is_derived_from_the_series() -> None:
    geometry = read_series(make_series(frame_of_reference="")).volume.geometry
    assert geometry.frame_of_reference_uid == derived_uid("frame-of-reference", derived_uid("image"))
    assert geometry.frame_of_reference_is_derived


def test_an_exact_repetition_is_read_once_and_a_contradiction_is_refused() -> None:
    files = make_series()
    series = read_series([*files, files[1]])
    assert series.volume.geometry.shape[0] == len(files)
    assert "came twice" in series.remarks[0]
    with edited(files[1]) as (dataset, encode):
        dataset.PixelData = bytes(len(dataset.PixelData))
    with pytest.raises(SeriesNotAVolume, match="share the SOP Instance UID"):
        read_series([*files, encode()])


def test_one_slice_and_no_slice() -> None:
    with pytest.raises(SeriesNotAVolume, match="one slice only"):
        read_series(make_series((1, 4, 4)))
    with pytest.raises(SeriesNotAVolume, match="no instance"):
        read_series([])


def test_several_volumes_in_one_series() -> None:
    second = make_series((3, 4, 4), edit=lambda d, i: setattr(d, "SOPInstanceUID", f"1.2.{i + 1}"))
    with pytest.raises(SeriesNotAVolume, match="6 slices lie at 3 positions"):
        read_series(make_series((3, 4, 4)) + second)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("SeriesInstanceUID", "1.2.9", "2 series"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1], "different orientations"),
        ("PixelSpacing", [2, 2], "Pixel Spacing"),
        ("FrameOfReferenceUID", "1.2.9", "FrameOfReferenceUID"),
        ("Rows", 10, "Rows"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
    ],
)
def test_mixtures_are_refused_with_their_reason(keyword: str, value: object, reason: str) -> None:
    files = make_series(edit=lambda d, i: setattr(d, keyword, value) if i == 2 else None)
    with pytest.raises(SeriesNotAVolume, match=reason):
        read_series(files)


def test_missing_slice_uneven_spacing_and_tilt_are_told_apart() -> None:
    files = make_series((8, 4, 4))
    with pytest.raises(SeriesNotAVolume, match=r"1 slice\(s\) are missing, the first after slice 4 of 7"):
        read_series(files[:4] + files[5:])

    def shift(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient[2] += 1.3 if index == 3 else 0

    with pytest.raises(SeriesNotAVolume, match="slice distance changes"):
        read_series(make_series((8, 4, 4), edit=shift))
    with pytest.raises(SeriesNotAVolume, match=r"leans by 18\.4 degrees"):
        read_series(make_series(shear=(0.0, 1.0, 0.0)))


def test_positions_rounded_by_the_scanner_are_accepted() -> None:
    def rounded(dataset: Dataset, _: int) -> None:
        dataset.ImagePositionPatient = [round(float(v), 1) for v in dataset.ImagePositionPatient]

    series = read_series(make_series((9, 4, 4), (1.25, 1.0, 1.0), edit=rounded))
    assert series.volume.geometry.spacing_DHW[0] == pytest.approx(1.25, abs=0.02)


@pytest.mark.parametrize(
    ("keyword", "value"), [("NumberOfFrames", 5), ("SamplesPerPixel", 3), ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")]
)
def test_kinds_that_are_not_read(keyword: str, value: object) -> None:
    with pytest.raises(UnsupportedObject):
        read_series(make_series(edit=lambda d, _: setattr(d, keyword, value)))


def test_a_truncated_file_is_named_at_every_length() -> None:
    files = make_series((2, 8, 8))
    uid = derived_uid("image", "1")
    for length in range(0, len(files[1]), 7):
        with pytest.raises(InvalidObject) as caught:
            read_series([files[0], files[1][:length]])
        if length > 700:
            assert uid in str(caught.value)


def test_values_that_break_the_rules_of_form_break_nothing() -> None:
    with lenient():

        def spoil(dataset: Dataset, _: int) -> None:
            dataset.StudyDate, dataset.PatientBirthDate, dataset.StudyTime = "1999.13.45", "unknown", "25:99"
            dataset.AccessionNumber = "far too long for a short string"
            dataset.ImagePositionPatient = [f"{float(v):.17f}" for v in dataset.ImagePositionPatient]
            dataset.add_new(0x00111010, "UN", b"\xff\xfe\x00")

        files = make_series(edit=spoil)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series = read_series(files)
    assert series.volume.geometry.shape == (5, 20, 24)


@pytest.mark.data
def test_real_series_of_three_scanners(data_dir: Path) -> None:
    expected = {
        "prostatex/ProstateX-0000_t2_tra": ((19, 384, 384), (3.0, 0.5, 0.5)),
        "prostatex/ProstateX-0001_t2_cor": ((15, 320, 320), (3.0, 0.6, 0.6)),
        "brain_tumour_study/11-T1post-18670": ((22, 320, 280), (6.5, 0.6875, 0.6875)),
        "dicom/ge_anatomical/001": ((4, 256, 256), (1.0, 1.0, 1.0)),
        "dicom/ge_anatomical/001_implicit": ((4, 256, 256), (1.0, 1.0, 1.0)),
        "dicom/seg_dcmqi/ct-3slice": ((3, 512, 512), (1.0, 0.810547, 0.810547)),
    }
    for name, (shape, spacing) in expected.items():
        geometry = read_series(folder(data_dir / name)).volume.geometry
        assert geometry.shape == shape
        assert geometry.spacing_DHW == pytest.approx(spacing, abs=1e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gantry_tilt_ct", "leans by 14.0 degrees"),
        ("missing_slice_dwi", "missing"),
        ("uneven_slices", "missing"),
        ("mr_seven_syntaxes", "several volumes"),
        ("ge_anatomical/001_single_slice", "one slice"),
        ("seg_dcmqi/23x38x3/multiframe", "multi-frame"),
    ],
)
def test_real_series_that_are_no_volume(data_dir: Path, name: str, reason: str) -> None:
    with pytest.raises(DicomIoError, match=reason):
        read_series(folder(data_dir / "dicom" / name))


@pytest.mark.data
def test_the_same_image_in_seven_syntaxes_decodes_to_the_same_pixels(data_dir: Path) -> None:
    files = {path.stem: path.read_bytes() for path in sorted((data_dir / "dicom" / "mr_seven_syntaxes").glob("*.dcm"))}
    with edited(files["1"]) as (dataset, encode), lenient():
        dataset.ImagePositionPatient = [
            float(v) + 5 * d for v, d in zip(dataset.ImagePositionPatient, _normal(dataset), strict=True)
        ]
        dataset.SOPInstanceUID = "1.2.3"
        neighbour = encode()
    decoded = {stem: read_series([file, neighbour]).volume.voxels_DHW for stem, file in files.items()}
    lossless = [decoded[stem][0] for stem in ("1", "2", "3", "4", "5", "6", "7")]
    assert all(np.array_equal(lossless[0], other) for other in lossless[1:])
    assert lossless[0].std() > 0


def _normal(dataset: Dataset) -> list[float]:
    orientation = np.asarray(dataset.ImageOrientationPatient, dtype=float)
    return [float(v) for v in np.cross(orientation[:3], orientation[3:])]
