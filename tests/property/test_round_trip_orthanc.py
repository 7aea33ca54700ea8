"""What our writers write, stored in a real Orthanc and fetched back, is read as what was written: over any geometry."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813 - its customary name
from dicom_phantoms import CREATED, identity, make_series, rotation
from enhanced_phantoms import make_enhanced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.datasets import lenient
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_map import write_residual_map
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_bands, write_residual_fractional
from learner.demo.orthanc import LocalOrthanc

pytestmark = pytest.mark.orthanc

EXAMPLES = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
FEW = settings(EXAMPLES, max_examples=8)
_NUMBERS = itertools.count()
Labels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def archive(orthanc: LocalOrthanc) -> Iterator[OrthancArchive]:
    ((user, password),) = orthanc.credentials.items()
    with OrthancArchive(orthanc.url, user, password) as opened:
        yield opened


def _backwards(count: int) -> Callable[[Dataset, int], None]:
    """Instance Numbers that descend along the normal."""

    def edit(dataset: Dataset, index: int) -> None:
        dataset.InstanceNumber = count - index

    return edit


@st.composite
def series(draw: st.DrawFn, kinds: tuple[str, ...] = ("plain", "tilted", "gap", "multi-frame")) -> list[bytes]:
    """Files of an image series: any orientation, pixels of any shape, columns of any number, in any order."""
    kind = draw(st.sampled_from(kinds))
    shape = (draw(st.integers(5 if kind == "gap" else 2, 7)), draw(st.integers(3, 19)), draw(st.integers(3, 19)))
    spacing = tuple(draw(st.sampled_from([0.3, 0.7421875, 1.0, 2.5, 6.0])) for _ in range(3))
    angles = tuple(draw(st.sampled_from([0.0, 0.4, -1.3, 3.1])) for _ in range(3))
    name = f"round trip {next(_NUMBERS)}"
    if kind == "multi-frame":
        return make_enhanced(shape, spacing, angles, name=name)
    options: dict[str, object] = {"name": name, "frame_of_reference": draw(st.sampled_from(["1.2.3.4", ""]))}
    if kind == "tilted":
        across = draw(st.sampled_from([0.3, 0.9])) * shape[1] * spacing[1]  # of the first slice, by which the last one is off
        options["shear"] = rotation(angles)[:, 1] * across / (shape[0] - 1)
    elif draw(st.booleans()):
        options["edit"] = _backwards(shape[0])
    files = make_series(shape, spacing, angles, **options)
    if kind == "gap":
        del files[draw(st.integers(1, shape[0] - 2))]
    return list(draw(st.permutations(files)))


def segments(count: int) -> list[SegmentDescription]:
    return [
        SegmentDescription(
            number,
            f"structure {number}",
            ANATOMICAL_STRUCTURE,
            Code(f"T{number}", "99TEST", f"Structure {number}"),
            (number, 255 - number, 7 * number % 256),
        )
        for number in range(1, count + 1)
    ]


def random_labels(source: ImageSeries, count: int, seed: int, share: float) -> Labels:
    """Labels 1..count on the volume, at places that were acquired, one voxel at least."""
    random = np.random.default_rng(seed)
    labels_DHW = random.integers(1, count + 1, source.volume.geometry.shape).astype(np.uint8)
    labels_DHW[random.random(labels_DHW.shape) > share] = 0
    on_slices = source.onto_slices(labels_DHW).copy()
    on_slices[0, 0, 0] = count
    return source.onto_volume(on_slices)


def named() -> ResultIdentity:
    return identity(f"round trip {next(_NUMBERS)}")


def stored(archive: OrthancArchive, files: list[bytes]) -> list[bytes]:
    """The files as the archive gives them back."""
    for file in files:
        archive.store(file)
    uid = str(dcmread(BytesIO(files[0]), stop_before_pixels=True).SeriesInstanceUID)
    return archive.fetch_series(archive.find_series(uid))


def back(archive: OrthancArchive, file: bytes) -> bytes:
    (fetched,) = stored(archive, [file])
    return fetched


def masks_of(file: bytes, source: ImageSeries) -> dict[str, npt.NDArray[np.bool_]]:
    return {segment.label: segment.mask_DHW for segment in read_annotation(file, source).segments}


def no_error(file: bytes, source: ImageSeries, *, accept: tuple[str, ...] = ()) -> bool:
    return all(finding.severity is not Severity.ERROR for finding in lint(file, source, accept=accept))


@EXAMPLES
@given(
    files=series(),
    count=st.sampled_from([1, 2, 9, 254]),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.02, 0.3, 0.9]),
)
def test_a_prediction_comes_back_voxel_for_voxel(
    archive: OrthancArchive, files: list[bytes], count: int, seed: int, share: float
) -> None:
    source = read_series(stored(archive, files))
    labels_DHW = random_labels(source, count, seed, share)
    drawing = read_annotation(back(archive, write_prediction(source, labels_DHW, segments(count), named())), source)
    assert drawing.remarks == ()
    assert [(s.number, s.label, s.type) for s in drawing.segments] == [(s.number, s.name, s.type) for s in segments(count)]
    for segment in drawing.segments:
        assert np.array_equal(segment.mask_DHW, labels_DHW == segment.number)


@EXAMPLES
@given(files=series(), seed=st.integers(0, 2**32 - 1), one_slice=st.booleans())
def test_what_was_drawn_comes_back_from_seg_contours_and_structures(
    archive: OrthancArchive, files: list[bytes], seed: int, one_slice: bool
) -> None:
    source = read_series(stored(archive, files))
    labels_DHW = random_labels(source, 2, seed, 0.85)
    if one_slice:
        on_slices = source.onto_slices(labels_DHW).copy()
        on_slices[1:] = 0
        labels_DHW = source.onto_volume(on_slices)
    drawn = {number: labels_DHW == number for number in (1, 2)}
    described = segments(2)
    made = [
        write(source, drawn, described, f"R{next(_NUMBERS)}^A", "drawn", created=CREATED)
        for write in (write_drawing_seg, write_contour_sr)
    ]
    for file in (*made, write_contours(source, labels_DHW, described, named())):
        fetched = back(archive, file)
        assert fetched == file
        found = masks_of(fetched, source)
        for segment in described:
            assert np.array_equal(found.get(segment.name, np.zeros(labels_DHW.shape, bool)), drawn[segment.number])
        assert no_error(fetched, source)


@EXAMPLES
@given(files=series(), seed=st.integers(0, 2**32 - 1))
def test_the_residual_comes_back_as_bands_fractions_and_map(archive: OrthancArchive, files: list[bytes], seed: int) -> None:
    source = read_series(stored(archive, files))
    residual_DHW = np.random.default_rng(seed).random(source.volume.geometry.shape).astype(np.float32)
    residual_DHW[source.slices[0].plane] = 1.0
    on_slices = source.onto_slices(residual_DHW)
    acquired_DHW = source.onto_volume(np.ones(on_slices.shape, bool))
    bands = read_annotation(back(archive, write_residual_bands(source, residual_DHW, named())), source).segments
    for segment, (low, high) in zip(bands, itertools.pairwise((0.25, 0.5, 0.75, np.inf)), strict=True):
        assert np.array_equal(segment.mask_DHW, (residual_DHW >= low) & (residual_DHW < high) & acquired_DHW)
    fractional = back(archive, write_residual_fractional(source, residual_DHW, named()))
    (half,) = read_annotation(fractional, source).segments
    assert np.array_equal(half.mask_DHW, (np.rint(residual_DHW * 255) * 2 >= 255) & acquired_DHW)
    assert no_error(fractional, source, accept=("fractional",))
    heat = back(archive, write_residual_map(source, residual_DHW, named()))
    pixels = dcmread(BytesIO(heat)).pixel_array.reshape(on_slices.shape)
    assert np.array_equal(pixels, on_slices)
    assert no_error(heat, source)


@FEW
@given(files=series(kinds=("plain",)), count=st.sampled_from([1, 3, 254]), seed=st.integers(0, 2**32 - 1))
def test_highdicom_and_dcmqi_read_the_same_voxels_in_the_same_place(
    archive: OrthancArchive, files: list[bytes], count: int, seed: int
) -> None:
    source = read_series(stored(archive, files))
    labels_DHW = random_labels(source, count, seed, 0.3)
    fetched = back(archive, write_prediction(source, labels_DHW, segments(count), named()))
    with lenient():
        read = hd.seg.segread(BytesIO(fetched)).get_pixels_by_source_instance(
            source.volume.series.sop_instance_uids,
            combine_segments=True,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
    assert np.array_equal(read, labels_DHW)
    assert np.array_equal(by_dcmqi(fetched, source), labels_DHW)


def by_dcmqi(file: bytes, source: ImageSeries) -> Labels:
    """Labels on the source's grid, placed by the geometry that dcmqi gives its voxels."""
    program = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("segimage2itkimage absent: install the 'dev' extra")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "seg.dcm").write_bytes(file)
        command = [program, "--inputDICOM", folder / "seg.dcm", "--outputDirectory", folder, "-t", "nrrd", "--mergeSegments"]
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        image = sitk.ReadImage(str(next(folder.glob("*.nrrd"))))
    found_DHW = np.zeros(source.volume.geometry.shape, np.uint8)
    voxels = sitk.GetArrayFromImage(image)
    for index in np.argwhere(voxels):
        point = image.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]])
        place = np.rint(source.volume.geometry.to_index(point)).astype(int)
        found_DHW[tuple(place)] = voxels[tuple(index)]
    return found_DHW
