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
from dicom_phantoms import SEGMENTS, blobs, identity
from pydicom import dcmread
from result_phantoms import OBJECTS, SHAPE, SOURCES, SUGGESTIONS, labels_of, residual_of

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.datasets import lenient
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_drawing_seg
from dicom_io.results import SegmentDescription, SuggestedSlice
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_bands, write_residual_fractional

UNEVEN = ["tilted", "uneven"]
EVEN = [name for name in SOURCES if name not in UNEVEN]
OTHER_HEADERS = ["oblique", "no-frame-of-reference", "malformed", "tilted", "multi-frame", "two-instances"]
"""Sources that differ in what a result takes over from them."""
ACCEPTED = {"fractional": ("fractional",), "no-fractional": ("fractional",)}


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} absent: install the 'dev' extra")
    return found


def errors_of(file: bytes, folder: Path) -> list[str]:
    """What dciodvfy holds against an object."""
    path = folder / "object.dcm"
    path.write_bytes(file)
    done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).splitlines()
    assert said, "dciodvfy names the kind of object at least"
    return [line for line in said if line.startswith("Error")]


def read_by_dcmqi(file: bytes, folder: Path) -> sitk.Image:
    """The labels of a SEG as dcmqi reads them."""
    path = folder / "seg.dcm"
    path.write_bytes(file)
    command = [program("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nii", "--mergeSegments"]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    return sitk.ReadImage(str(next(folder.glob("*.nii*"))))


@pytest.mark.parametrize("source", OTHER_HEADERS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_dciodvfy_finds_no_error(kind: str, source: str, tmp_path: Path) -> None:
    assert errors_of(OBJECTS[kind](SOURCES[source]()), tmp_path) == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", OBJECTS)
def test_viewers_find_no_obstacle(kind: str, source: str) -> None:
    series = SOURCES[source]()
    found = lint(OBJECTS[kind](series), series, accept=ACCEPTED.get(kind, ()))
    assert [finding for finding in found if finding.severity is Severity.ERROR] == []


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_same_input_gives_the_same_bytes(kind: str) -> None:
    source = SOURCES["oblique"]()
    assert OBJECTS[kind](source) == OBJECTS[kind](source)


@pytest.mark.parametrize("source", SOURCES)
def test_highdicom_reads_the_same_voxels(source: str) -> None:
    series = SOURCES[source]()
    labels_DHW = labels_of(series)
    with lenient():
        segmentation = hd.seg.segread(BytesIO(write_prediction(series, labels_DHW, SEGMENTS, identity())))
        wanted = {"combine_segments": True, "ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
        if series.slices[0].frame_number:
            read = np.concatenate(
                [
                    segmentation.get_pixels_by_source_frame(one.sop_instance_uid, [one.frame_number], **wanted)
                    for one in series.slices
                ]
            )
        else:
            read = segmentation.get_pixels_by_source_instance([one.sop_instance_uid for one in series.slices], **wanted)
    assert np.array_equal(read, series.onto_slices(labels_DHW))
    assert read.any()
    assert segmentation.number_of_segments == 3


@pytest.mark.parametrize("source", EVEN)
def test_highdicom_finds_the_voxels_where_the_images_have_them(source: str) -> None:
    series = SOURCES[source]()
    labels_DHW = labels_of(series)
    with lenient():
        segmentation = hd.seg.segread(BytesIO(write_prediction(series, labels_DHW, SEGMENTS, identity())))
        volume = segmentation.get_volume(combine_segments=True)
    assert np.array_equal(_placed(volume.array, volume.map_indices_to_reference, series), labels_DHW)


@pytest.mark.parametrize("source", EVEN)
def test_dcmqi_reads_the_same_voxels_in_the_same_place(source: str, tmp_path: Path) -> None:
    series = SOURCES[source]()
    labels_DHW = labels_of(series)
    image = read_by_dcmqi(write_prediction(series, labels_DHW, SEGMENTS, identity()), tmp_path)

    def to_patient(indices: np.ndarray) -> np.ndarray:
        return np.array([image.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]]) for index in indices])

    assert np.array_equal(_placed(sitk.GetArrayFromImage(image), to_patient, series), labels_DHW)


@pytest.mark.parametrize("source", UNEVEN)
def test_dcmqi_reads_the_same_voxels_of_slices_that_no_regular_grid_holds(source: str, tmp_path: Path) -> None:
    series = SOURCES[source]()
    image = read_by_dcmqi(write_prediction(series, labels_of(series), SEGMENTS, identity()), tmp_path)
    on_slices = series.onto_slices(labels_of(series))
    assert np.array_equal(sitk.GetArrayFromImage(image), on_slices[on_slices.any(axis=(1, 2))])


def _placed(voxels: np.ndarray, to_patient: Callable[[np.ndarray], np.ndarray], series: ImageSeries) -> np.ndarray:
    """Foreground voxels of another tool's volume on that of the source, by their positions."""
    placed = np.zeros(series.volume.geometry.shape, np.uint8)
    indices = np.argwhere(voxels)
    places = series.volume.geometry.to_index(to_patient(indices))
    assert np.abs(places - np.rint(places)).max() < 0.01
    placed[tuple(np.rint(places).astype(int).T)] = voxels[tuple(indices.T)]
    return placed


@pytest.mark.parametrize("source", SOURCES)
def test_frames_name_their_slice_and_lie_where_it_lies_and_ascend(source: str) -> None:
    series = SOURCES[source]()
    dataset = dcmread(BytesIO(write_prediction(series, labels_of(series), SEGMENTS, identity())))
    by_image = {(one.sop_instance_uid, one.frame_number): (place, one) for place, one in enumerate(series.slices)}
    order = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        named = (image.ReferencedSOPInstanceUID, int(image.get("ReferencedFrameNumber", 0)))
        place, one = by_image[named]
        assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, one.position, atol=1e-6)
        order.append((group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, place))
        assert image.ReferencedSOPClassUID == series.volume.series.sop_class_uid
    assert order == sorted(set(order))
    on_slices = series.onto_slices(labels_of(series))
    assert order == [(n, int(i)) for n in (1, 2) for i in np.flatnonzero((on_slices == n).any(axis=(1, 2)))]
    indices = [tuple(g.FrameContentSequence[0].DimensionIndexValues) for g in dataset.PerFrameFunctionalGroupsSequence]
    places = sorted({place for _, place in order})
    assert indices == [(number, places.index(place) + 1) for number, place in order]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["prediction", "reader-seg", "reader-sr", "contours"])
def test_our_reader_gets_the_labels_back(kind: str, source: str) -> None:
    series = SOURCES[source]()
    labels_DHW = labels_of(series)
    found = {segment.number: segment.mask_DHW for segment in read_annotation(OBJECTS[kind](series), series).segments}
    on_slices = series.onto_slices(labels_DHW)
    for number in (1, 2):
        assert np.array_equal(series.onto_slices(found[number]), on_slices == number)


@pytest.mark.parametrize("count", [1, 254])
def test_one_segment_and_as_many_as_a_byte_holds(count: int) -> None:
    series = SOURCES["axial"]()
    labels_DHW = (np.arange(np.prod(SHAPE), dtype=np.int64) % (count + 1)).astype(np.uint8).reshape(SHAPE)
    segments = [
        SegmentDescription(n, f"label {n}", ANATOMICAL_STRUCTURE, Code(str(n), "99TEST", "x"), (n, 0, 9))
        for n in range(1, count + 1)
    ]
    with lenient():
        read = hd.seg.segread(
            BytesIO(write_prediction(series, labels_DHW, segments, identity()))
        ).get_pixels_by_source_instance(
            series.volume.series.sop_instance_uids, combine_segments=True, ignore_spatial_locations=True
        )
    assert np.array_equal(read, labels_DHW)


@pytest.mark.parametrize("source", SOURCES)
def test_the_map_ascends_and_holds_the_residual(source: str) -> None:
    series = SOURCES[source]()
    dataset = dcmread(BytesIO(write_residual_map(series, residual_of(series), identity())))
    assert np.array_equal(dataset.pixel_array, series.onto_slices(residual_of(series)))
    positions = [g.PlanePositionSequence[0].ImagePositionPatient for g in dataset.PerFrameFunctionalGroupsSequence]
    assert np.allclose(np.asarray(positions, dtype=float), [one.position for one in series.slices], atol=1e-6)
    orientation = np.asarray(
        dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float
    )
    assert (np.diff(np.asarray(positions, float) @ np.cross(orientation[:3], orientation[3:])) > 0).all()


def test_fractions_are_kept_in_steps_of_a_255th() -> None:
    series = SOURCES["oblique"]()
    dataset = dcmread(BytesIO(write_residual_fractional(series, residual_of(series), identity())))
    assert (dataset.SegmentationType, dataset.SegmentationFractionalType, dataset.MaximumFractionalValue) == (
        "FRACTIONAL",
        "PROBABILITY",
        255,
    )
    assert np.abs(dataset.pixel_array / 255 - residual_of(series)).max() <= 0.5 / 255 + 1e-6


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
    assert (dataset.BurnedInAnnotation, dataset.ImageComments) == ("NO", "Research use only")


@pytest.mark.parametrize("kind", [kind for kind in OBJECTS if not kind.startswith("reader")])
def test_every_object_names_the_equipment_that_took_part(kind: str) -> None:
    dataset = dcmread(BytesIO(OBJECTS[kind](SOURCES["axial"]())))
    *scanner, software = dataset.ContributingEquipmentSequence
    named = [(item.PurposeOfReferenceCodeSequence[0].CodeValue, item.Manufacturer) for item in scanner]
    assert named == ([] if kind == "refusal" else [("109101", "Phantom")])
    assert (software.PurposeOfReferenceCodeSequence[0].CodeValue, software.Manufacturer) == ("109102", "PACS Apprentice")
    assert software.SoftwareVersions[1] == "v7"
    assert (dataset.SpecificCharacterSet, dataset.file_meta.TransferSyntaxUID.name) == (
        "ISO_IR 192",
        "Explicit VR Little Endian",
    )


def test_what_is_malformed_in_the_source_is_left_empty_and_identifiers_stay() -> None:
    dataset = dcmread(BytesIO(OBJECTS["prediction"](SOURCES["malformed"]())))
    assert (dataset.StudyDate, dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber) == ("", "", "", "")
    assert (dataset.PatientID, str(dataset.PatientName)) == ("P1", "Doe^Jane")
    assert len(dataset.ContributingEquipmentSequence) == 1
    assert str(dcmread(BytesIO(OBJECTS["prediction"](SOURCES["latin-1"]()))).PatientName) == "Müller^Jürgen"


@pytest.mark.parametrize(
    "call",
    [
        lambda s, labels: write_prediction(s, labels[:3], SEGMENTS, identity()),
        lambda s, labels: write_prediction(s, labels, SEGMENTS[:1], identity()),
        lambda s, labels: write_prediction(s, labels, SEGMENTS[1:], identity()),
        lambda s, labels: write_residual_bands(s, labels / np.float32(9), identity(), edges=(0.5, 0.25)),
        lambda s, labels: write_residual_map(s, labels[:2] / np.float32(9), identity()),
        lambda s, labels: write_key_objects(s, [], identity()),
        lambda s, labels: write_key_objects(s, [SuggestedSlice(6, 1.0, "")], identity()),
        lambda s, labels: write_captures(s, SUGGESTIONS, labels[:2], labels / np.float32(9), SEGMENTS, identity()),
        lambda s, labels: write_contours(s, labels * 0, SEGMENTS, identity()),
        lambda s, labels: write_drawing_seg(s, {1: labels == 9}, SEGMENTS, "R", "d"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(call: Callable[[ImageSeries, np.ndarray], bytes]) -> None:
    series = SOURCES["axial"]()
    with pytest.raises(ValueError, match=r"."):
        call(series, labels_of(series))


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["prostatex/ProstateX-0000_t2_tra", "brain_tumour_study/11-T1post-18670", "dicom/gantry_tilt_ct", "dicom/uneven_slices"],
)
def test_results_of_real_series(data_dir: Path, name: str, tmp_path: Path) -> None:
    series = read_series(path.read_bytes() for path in sorted((data_dir / name).rglob("*.dcm")))
    labels_DHW = series.onto_volume(series.onto_slices(blobs(series.volume.geometry.shape)))
    file = write_prediction(series, labels_DHW, SEGMENTS, identity())
    assert errors_of(file, tmp_path) == []
    on_slices = series.onto_slices(labels_DHW)
    for segment in read_annotation(file, series).segments:
        assert np.array_equal(series.onto_slices(segment.mask_DHW), on_slices == segment.number)
    assert [finding for finding in lint(file, series) if finding.severity is Severity.ERROR] == []
