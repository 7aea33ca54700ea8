from __future__ import annotations

import warnings
from collections.abc import Callable
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


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("SeriesInstanceUID", "1.2.9", "2 series"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1], "different orientations"),
        ("PixelSpacing", [2, 2], "Pixel Spacing"),
        ("FrameOfReferenceUID", "1.2.9", "FrameOfReferenceUID"),
        ("Rows", 10, "Rows"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "mosaic"),
        ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"], "screenshot"),
        ("PhotometricInterpretation", "MONOCHROME1", "PhotometricInterpretation"),
    ],
)
def test_mixtures_are_refused_with_their_reason(keyword: str, value: object, reason: str) -> None:
    files = make_series(edit=lambda d, i: setattr(d, keyword, value) if i == 2 else None)
    with pytest.raises(SeriesNotAVolume, match=reason):
        read_series(files)


def test_positions_rounded_by_the_scanner_are_accepted() -> None:
    def rounded(dataset: Dataset, _: int) -> None:
        dataset.ImagePositionPatient = [round(float(v), 1) for v in dataset.ImagePositionPatient]

    series = read_series(make_series((9, 4, 4), (1.25, 1.0, 1.0), edit=rounded))
    assert series.volume.geometry.spacing_DHW[0] == pytest.approx(1.25, abs=0.02)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("NumberOfFrames", 5, "several frames"),
        ("SamplesPerPixel", 3, "colour"),
        ("PhotometricInterpretation", "RGB", "colour"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7", "secondary capture"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.6.1", "no MR, CT or PET"),
        ("BitsAllocated", 64, "64 bits"),
    ],
)
def test_kinds_that_are_not_read(keyword: str, value: object, reason: str) -> None:
    with pytest.raises(UnsupportedObject, match=reason):
        read_series(make_series(edit=lambda d, _: setattr(d, keyword, value)))


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("ImagePositionPatient", None, "Image Position"),
        ("ImagePositionPatient", [0, 0, 1e9], "out of any scanner's range"),
        ("PixelSpacing", [0, 1], "range"),
        ("PixelSpacing", [1e7, 1], "range"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "perpendicular"),
        ("Rows", 0, "no rows"),
        ("Rows", 65535, "end too early"),
        ("RescaleSlope", 1e35, "out of range"),
        ("SeriesInstanceUID", "", "no Series Instance UID"),
    ],
)
def test_headers_that_make_no_sense(keyword: str, value: object, reason: str) -> None:
    def spoil(dataset: Dataset, _: int) -> None:
        setattr(dataset, keyword, value)

    with lenient(), pytest.raises(InvalidObject, match=reason):
        read_series(make_series(edit=spoil))


def test_an_image_without_pixels_is_damaged() -> None:
    with pytest.raises(InvalidObject, match="before its pixels"):
        read_series(make_series(edit=lambda d, _: delattr(d, "PixelData")))


def test_bits_that_are_not_stored_do_not_count() -> None:
    def twelve_bits(signed: int) -> Callable[[Dataset, int], None]:
        def edit(dataset: Dataset, _: int) -> None:
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, signed

        return edit

    voxels_DHW = np.array([[[0x0FFF, 0x8001]], [[0x0800, 0x1002]]], np.uint16)
    unsigned = read_series(make_series((2, 1, 2), voxels_DHW=voxels_DHW, edit=twelve_bits(0))).volume.voxels_DHW
    signed = read_series(make_series((2, 1, 2), voxels_DHW=voxels_DHW, edit=twelve_bits(1))).volume.voxels_DHW
    assert unsigned.tolist() == [[[4095, 1]], [[2048, 2]]]
    assert signed.tolist() == [[[-1, 1]], [[-2048, 2]]]


def test_a_modality_lut_goes_before_everything_else() -> None:
    def table(dataset: Dataset, _: int) -> None:
        item = Dataset()
        item.ModalityLUTType = "HU"
        item.add_new("LUTDescriptor", "US", [4, 0, 16])
        item.add_new("LUTData", "US", [10, 20, 40, 80])
        dataset.ModalityLUTSequence = [item]

    series = read_series(make_series((2, 1, 2), voxels_DHW=np.array([[[0, 1]], [[2, 3]]], np.uint16), edit=table))
    assert series.volume.voxels_DHW.ravel().tolist() == [10, 20, 40, 80]


def test_pet_says_its_unit() -> None:
    def pet(dataset: Dataset, _: int) -> None:
        dataset.SOPClassUID, dataset.Modality, dataset.Units = "1.2.840.10008.5.1.4.1.1.128", "PT", "BQML"
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 0

    volume = read_series(make_series((2, 1, 2), edit=pet)).volume
    assert (volume.unit, volume.voxels_DHW.ravel().tolist()) == ("BQML", [0, 0.5, 1, 1.5])


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_real_world_mapping_counts_only_where_nothing_else_is(rescaled: bool) -> None:
    def mapped(dataset: Dataset, _: int) -> None:
        unit = Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "{SUVbw}g/ml", "UCUM", "SUV"
        item = Dataset()
        item.RealWorldValueSlope, item.RealWorldValueIntercept, item.MeasurementUnitsCodeSequence = 0.25, 1.0, [unit]
        dataset.RealWorldValueMappingSequence = [item]
        if rescaled:
            dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 2, 0, "US"

    series = read_series(make_series((2, 1, 2), edit=mapped))
    assert series.volume.voxels_DHW.ravel().tolist() == ([0, 2, 4, 6] if rescaled else [1, 1.25, 1.5, 1.75])
    assert series.volume.unit == ("US" if rescaled else "{SUVbw}g/ml")
    assert any("Real World Value" in remark for remark in series.remarks) is not rescaled


def test_a_real_world_table_is_looked_up() -> None:
    def mapped(dataset: Dataset, _: int) -> None:
        item = Dataset()
        item.add_new("RealWorldValueFirstValueMapped", "US", 1)
        item.add_new("RealWorldValueLastValueMapped", "US", 3)
        item.RealWorldValueLUTData = [5.0, 7.0, 9.0]
        dataset.RealWorldValueMappingSequence = [item]

    series = read_series(make_series((2, 1, 2), edit=mapped))
    assert series.volume.voxels_DHW.ravel().tolist() == [5, 5, 7, 9]


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
        "dicom/seg_dcmqi/23x38x3/image": ((3, 38, 23), (2.5, 0.7, 0.7)),
    }
    for name, (shape, spacing) in expected.items():
        geometry = read_series(folder(data_dir / name)).volume.geometry
        assert geometry.shape == shape
        assert geometry.spacing_DHW == pytest.approx(spacing, abs=1e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mr_seven_syntaxes", "mosaic"),
        ("ge_anatomical/001_single_slice", "one slice"),
        ("seg_dcmqi", "no MR, CT or PET"),
        ("seg_highdicom", "no MR, CT or PET"),
        ("sr_tid1500_dwv", "no MR, CT or PET"),
    ],
)
def test_real_series_that_are_no_volume(data_dir: Path, name: str, reason: str) -> None:
    pattern = "s*.dcm" if name == "seg_highdicom" else "*.dcm"
    with pytest.raises(DicomIoError, match=reason):
        read_series(folder(data_dir / "dicom" / name, pattern))


@pytest.mark.data
def test_a_real_tilted_gantry_is_sheared_back(data_dir: Path) -> None:
    series = read_series(folder(data_dir / "dicom" / "gantry_tilt_ct"))
    assert series.volume.geometry.shape == (4, 521, 512)
    assert any("leans by 14.0 degrees" in remark for remark in series.remarks)
    affine = series.volume.geometry.affine[:3, :3]
    assert np.allclose(affine.T @ affine, np.diag(np.diag(affine.T @ affine)), atol=1e-6)
    for one in series.slices:
        off = series.volume.geometry.to_patient((one.plane, one.row_shift, one.column_shift)) - one.position
        assert np.abs(off).max() <= series.volume.geometry.spacing_DHW[1] / 2


@pytest.mark.data
@pytest.mark.parametrize(("name", "planes", "interpolated"), [("missing_slice_dwi", 19, [13]), ("uneven_slices", 5, [3])])
def test_real_missing_slices_are_interpolated(data_dir: Path, name: str, planes: int, interpolated: list[int]) -> None:
    series = read_series(folder(data_dir / "dicom" / name))
    voxels_DHW, uids = series.volume.voxels_DHW, series.volume.series.sop_instance_uids
    assert [plane for plane, uid in enumerate(uids) if not uid] == interpolated
    assert len(uids) == planes
    for plane in interpolated:
        assert np.allclose(voxels_DHW[plane], (voxels_DHW[plane - 1] + voxels_DHW[plane + 1]) / 2, atol=1e-3)
    assert any("interpolated" in remark for remark in series.remarks)


@pytest.mark.data
@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_a_real_multi_frame_image_and_its_single_frames_are_the_same_volume(data_dir: Path, size: str) -> None:
    single = read_series(folder(data_dir / "dicom" / "seg_dcmqi" / size / "image"))
    multi = read_series(folder(data_dir / "dicom" / "seg_dcmqi" / size / "multiframe"))
    assert np.array_equal(single.volume.voxels_DHW, multi.volume.voxels_DHW)
    assert np.allclose(single.volume.geometry.affine, multi.volume.geometry.affine)
    assert [one.frame_number for one in multi.slices] == [1, 2, 3]
    assert len(multi.headers) == 1


@pytest.mark.data
def test_the_same_image_in_seven_syntaxes_decodes_to_the_same_pixels(data_dir: Path) -> None:
    decoded = {}
    for path in sorted((data_dir / "dicom" / "mr_seven_syntaxes").glob("*.dcm")):
        files = []
        for place in range(2):
            with edited(path.read_bytes()) as (dataset, encode), lenient():
                dataset.ImageType = ["ORIGINAL", "PRIMARY"]  # a mosaic is refused
                dataset.ImagePositionPatient = [
                    float(v) + 5 * place * d for v, d in zip(dataset.ImagePositionPatient, _normal(dataset), strict=True)
                ]
                dataset.SOPInstanceUID = f"1.2.{place + 1}"
                files.append(encode())
        decoded[path.stem] = read_series(files).volume.voxels_DHW
    assert all(np.array_equal(decoded["1"], other) for other in decoded.values())
    assert decoded["1"].std() > 0
    assert len(decoded) == 9


def _normal(dataset: Dataset) -> list[float]:
    orientation = np.asarray(dataset.ImageOrientationPatient, dtype=float)
    return [float(v) for v in np.cross(orientation[:3], orientation[3:])]
