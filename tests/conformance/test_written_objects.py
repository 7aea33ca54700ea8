from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its customary name
from dicom_phantoms import CREATED, SEGMENTS, blobs, identity, make_series
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.datasets import lenient
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_map import write_residual_map
from dicom_io.write_report import write_guidance
from dicom_io.write_seg import write_prediction, write_residual_bands

SHAPE = (6, 21, 27)
LABELS = blobs(SHAPE)
RESIDUAL = np.linspace(0, 1, LABELS.size, dtype=np.float32).reshape(SHAPE)


def malformed(dataset: Dataset, _: int) -> None:
    """What archives really hold: impossible dates, texts that are too long, private values of no known kind."""
    with lenient():
        dataset.StudyDate, dataset.PatientBirthDate, dataset.StudyTime = "1999.13.45", "unknown", "25:99"
        dataset.AccessionNumber, dataset.StudyID, dataset.PatientSex = "far too long for a short string", "x" * 40, "female"
        dataset.ReferringPhysicianName, dataset.PatientAge, dataset.PatientWeight = "A=B=C=D=E", "old", "1e400"
        dataset.StudyDescription = "y" * 90
        dataset.ImagePositionPatient = [f"{float(v):.17f}" for v in dataset.ImagePositionPatient]
        dataset.add_new(0x00111010, "UN", b"\xff\xfe\x00")


def umlauts(dataset: Dataset, _: int) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller^Jürgen"


SOURCES: dict[str, Callable[[], ImageSeries]] = {
    "axial": lambda: read_series(make_series(SHAPE)),
    "oblique": lambda: read_series(make_series(SHAPE, angles=(0.4, -0.3, 2.0))),
    "no-frame-of-reference": lambda: read_series(make_series(SHAPE, frame_of_reference="")),
    "malformed": lambda: read_series(make_series(SHAPE, edit=malformed)),
    "latin-1": lambda: read_series(make_series(SHAPE, edit=umlauts)),
}
OBJECTS: dict[str, Callable[[ImageSeries], bytes]] = {
    "prediction": lambda s: write_prediction(s, LABELS, SEGMENTS, identity()),
    "empty-prediction": lambda s: write_prediction(s, LABELS * 0, SEGMENTS, identity()),
    "semiautomatic": lambda s: write_prediction(s, LABELS, SEGMENTS, identity(), with_drawing=True),
    "bands": lambda s: write_residual_bands(s, RESIDUAL, identity()),
    "no-bands": lambda s: write_residual_bands(s, RESIDUAL * 0, identity()),
    "map": lambda s: write_residual_map(s, RESIDUAL, identity()),
    "guidance": lambda s: write_guidance(
        s, [(3, 0.9, "far from drawn slices"), (1, 0.2, "Überlappung \\ residual")], identity()
    ),
    "drawing": lambda s: write_drawing_seg(s, {1: LABELS == 1, 2: LABELS == 2}, SEGMENTS, "R^A", "drawn", created=CREATED),
    "contours": lambda s: write_contour_sr(s, {1: LABELS == 1, 2: LABELS == 2}, SEGMENTS, "R^A", "drawn", created=CREATED),
}


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} absent: install the 'dev' extra")
    return found


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", OBJECTS)
def test_dciodvfy_finds_no_error_and_viewers_no_obstacle(kind: str, source: str, tmp_path: Path) -> None:
    series = SOURCES[source]()
    file = OBJECTS[kind](series)
    path = tmp_path / "object.dcm"
    path.write_bytes(file)
    done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    assert said, "dciodvfy names the kind of object at least"
    assert [line for line in said if line.startswith("Error")] == []
    assert [finding for finding in lint(file, series) if finding.severity is Severity.ERROR] == []


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_same_input_gives_the_same_bytes(kind: str) -> None:
    source = SOURCES["oblique"]()
    assert OBJECTS[kind](source) == OBJECTS[kind](source)


@pytest.mark.parametrize("source", SOURCES)
def test_highdicom_reads_the_same_voxels(source: str) -> None:
    series = SOURCES[source]()
    with lenient():
        segmentation = hd.seg.segread(BytesIO(write_prediction(series, LABELS, SEGMENTS, identity())))
        read = segmentation.get_pixels_by_source_instance(
            series.volume.series.sop_instance_uids,
            combine_segments=True,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
    assert np.array_equal(read, LABELS)
    assert segmentation.number_of_segments == 3


@pytest.mark.parametrize("source", ["axial", "oblique"])
def test_dcmqi_reads_the_same_voxels_in_the_same_place(source: str, tmp_path: Path) -> None:
    series = SOURCES[source]()
    path = tmp_path / "seg.dcm"
    path.write_bytes(write_prediction(series, LABELS, SEGMENTS, identity()))
    command = [
        program("segimage2itkimage"),
        "--inputDICOM",
        path,
        "--outputDirectory",
        tmp_path,
        "-t",
        "nii",
        "--mergeSegments",
    ]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    image = sitk.ReadImage(str(next(tmp_path.glob("*.nii*"))))
    voxels = sitk.GetArrayFromImage(image)
    found = np.zeros(SHAPE, np.uint8)
    for index in np.argwhere(voxels):
        point = image.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]])
        place = np.rint(series.volume.geometry.to_index(point)).astype(int)
        found[tuple(place)] = voxels[tuple(index)]
    assert np.array_equal(found, LABELS)


def test_the_map_ascends_and_holds_the_residual() -> None:
    series = SOURCES["oblique"]()
    dataset = dcmread(BytesIO(write_residual_map(series, RESIDUAL, identity())))
    assert np.array_equal(dataset.pixel_array, RESIDUAL)
    positions = [g.PlanePositionSequence[0].ImagePositionPatient for g in dataset.PerFrameFunctionalGroupsSequence]
    expected = series.volume.geometry.to_patient([(i, 0, 0) for i in range(SHAPE[0])])
    assert np.allclose(np.asarray(positions, dtype=float), expected, atol=1e-6)


def test_a_prediction_says_what_made_it_of_what() -> None:
    series = SOURCES["axial"]()
    dataset = dcmread(BytesIO(OBJECTS["semiautomatic"](series)))
    first = dataset.SegmentSequence[0]
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("PACS Apprentice", "v7")
    assert (first.SegmentAlgorithmType, dataset.Manufacturer) == ("SEMIAUTOMATIC", "PACS Apprentice")
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == series.volume.series.series_instance_uid
    assert [item.SegmentNumber for item in dataset.SegmentSequence] == [1, 2, 3]
    assert tuple(first.RecommendedDisplayCIELabValue) == hd.color.CIELabColor.from_rgb(*SEGMENTS[0].colour).value
    assert (str(dataset.PatientName), dataset.PatientID, dataset.StudyDate) == ("Doe^Jane", "P1", "20250102")


def test_what_is_malformed_in_the_source_is_left_empty_and_identifiers_stay() -> None:
    dataset = dcmread(BytesIO(OBJECTS["prediction"](SOURCES["malformed"]())))
    assert (dataset.StudyDate, dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber) == ("", "", "", "")
    assert (dataset.PatientID, str(dataset.PatientName)) == ("P1", "Doe^Jane")
    assert str(dcmread(BytesIO(OBJECTS["prediction"](SOURCES["latin-1"]()))).PatientName) == "Müller^Jürgen"


def test_guidance_names_the_slices_in_order_with_score_and_reason() -> None:
    series = SOURCES["axial"]()
    dataset = dcmread(BytesIO(OBJECTS["guidance"](series)))
    uids = series.volume.series.sop_instance_uids
    named = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in dataset.ContentSequence if i.ValueType == "IMAGE"]
    assert named == [uids[3], uids[1]]
    told = "".join(item.TextValue for item in dataset.ContentSequence if item.ValueType == "TEXT")
    assert "1. slice 4 of 6: score 0.900, far from drawn slices" in told


@pytest.mark.parametrize(
    "call",
    [
        lambda s: write_prediction(s, LABELS[:3], SEGMENTS, identity()),
        lambda s: write_prediction(s, LABELS, SEGMENTS[:1], identity()),
        lambda s: write_prediction(s, LABELS, SEGMENTS[1:], identity()),
        lambda s: write_residual_bands(s, RESIDUAL, identity(), edges=(0.5, 0.25)),
        lambda s: write_residual_map(s, RESIDUAL[:2], identity()),
        lambda s: write_guidance(s, [], identity()),
        lambda s: write_guidance(s, [(6, 1.0, "")], identity()),
        lambda s: write_drawing_seg(s, {1: LABELS == 9}, SEGMENTS, "R", "d"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(call: Callable[[ImageSeries], bytes]) -> None:
    with pytest.raises(ValueError, match=r"."):
        call(SOURCES["axial"]())


@pytest.mark.data
@pytest.mark.parametrize("name", ["prostatex/ProstateX-0000_t2_tra", "brain_tumour_study/11-T1post-18670"])
def test_results_of_real_series(data_dir: Path, name: str, tmp_path: Path) -> None:
    series = read_series(path.read_bytes() for path in (data_dir / name).glob("*.dcm"))
    labels_DHW = blobs(series.volume.geometry.shape)
    file = write_prediction(series, labels_DHW, SEGMENTS, identity())
    path = tmp_path / "object.dcm"
    path.write_bytes(file)
    done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False, timeout=60)
    assert "Error" not in done.stdout + done.stderr
    for segment in read_annotation(file, series).segments:
        assert np.array_equal(segment.mask_DHW, labels_DHW == segment.number)
    assert [finding for finding in lint(file, series) if finding.severity is Severity.ERROR] == []
