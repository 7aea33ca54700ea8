"""Reading a series, reading a SEG and writing a SEG: this project, plain highdicom and dcmqi side by side.

    python benchmarks/dicom_speed.py [--runs 5] [--slices 300] [--size 512] [--labels 10]

A synthetic CT series and a label image are made in a temporary folder; the SEG that is read is written by dcmqi. Each
measurement is a process of its own; the tools take turns. Printed are medians and the peak resident memory of the process, with
all that it holds by then. What is timed:

- read series: files on disk to voxels and their place. dcmqi has no such step; SimpleITK, built on the same ITK, stands
  beside.
- read SEG: one file on disk to voxels, the series being at hand: a mask for each segment (ours) or one label volume.
- write SEG: one label volume to one file on disk, the series being at hand; dcmqi, a program, reads the headers of the series
  and the label image from disk, and its start counts.

Every result is checked: all tools have to arrive at the same voxels.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its customary name
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.volume import ImageSeries
from dicom_io.write_seg import colour_of, write_prediction

STEPS = {
    "read series": ("ours", "highdicom", "SimpleITK"),
    "read SEG": ("ours", "highdicom", "dcmqi"),
    "write SEG": ("ours", "highdicom", "dcmqi"),
}
_SPACING = (1.5, 0.8, 0.8)
_TYPE = Code("10200004", "SCT", "Liver")


def make_data(folder: Path, slices: int, size: int, labels: int) -> None:
    """The series, the label image (NRRD), dcmqi's metadata, and a SEG."""
    random = np.random.default_rng(1)
    noise_HW = random.integers(-40, 40, (size, size))
    (folder / "series").mkdir()
    for index in range(slices):
        header = _header(index, size)
        header.PixelData = (noise_HW + 1000 + index).astype("<i2").tobytes()
        header.save_as(folder / "series" / f"{index:04}.dcm", enforce_file_format=True)
    labels_DHW = _labels(slices, size, labels)
    np.save(folder / "labels.npy", labels_DHW)
    image = sitk.GetImageFromArray(labels_DHW)
    image.SetSpacing(_SPACING[::-1])
    sitk.WriteImage(image, str(folder / "labels.nrrd"))
    (folder / "metadata.json").write_text(json.dumps(_metadata(labels)))
    _dcmqi_write(folder, folder / "seg.dcm")


def _header(index: int, size: int) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, derived_uid("speed", str(index))
    header.StudyInstanceUID, header.SeriesInstanceUID = derived_uid("speed-study"), derived_uid("speed-series")
    header.FrameOfReferenceUID = derived_uid("speed-frame")
    header.PatientName, header.PatientID, header.PatientBirthDate, header.PatientSex = "Speed^Test", "S1", "19700101", "O"
    header.StudyDate, header.StudyTime, header.StudyID, header.AccessionNumber = "20260102", "101112", "1", "A1"
    header.ReferringPhysicianName, header.Manufacturer, header.Modality = "", "Phantom", "CT"
    header.SeriesNumber, header.InstanceNumber, header.ImageType = 1, index + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, index * _SPACING[0]], [1, 0, 0, 0, 1, 0]
    header.PixelSpacing, header.SliceThickness = list(_SPACING[1:]), _SPACING[0]
    header.PositionReferenceIndicator, header.AcquisitionNumber = "", 1
    header.Rows, header.Columns, header.SamplesPerPixel, header.PhotometricInterpretation = size, size, 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = 1, -1024, "HU"
    return header


def _labels(slices: int, size: int, labels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Upright ellipsoids around a ring, each through two thirds of the slices."""
    labels_DHW = np.zeros((slices, size, size), np.uint8)
    y, x = np.mgrid[:size, :size]
    for number in range(1, labels + 1):
        angle = 2 * np.pi * number / labels
        row, column = size / 2 + size / 3 * np.sin(angle), size / 2 + size / 3 * np.cos(angle)
        middle = slices * (0.35 + 0.3 * number / labels)
        for index in range(slices):
            rest = 1 - ((index - middle) / (slices / 3)) ** 2
            labels_DHW[index][(y - row) ** 2 + (x - column) ** 2 < rest * (size / 12) ** 2] = number
    return labels_DHW


def _metadata(labels: int) -> dict[str, Any]:
    """Dcmqi's description of the segments."""
    category, kind = (
        {"CodeValue": c.value, "CodingSchemeDesignator": c.scheme, "CodeMeaning": c.meaning}
        for c in (ANATOMICAL_STRUCTURE, _TYPE)
    )
    segments = [
        {
            "labelID": number,
            "SegmentLabel": f"label {number}",
            "SegmentDescription": f"label {number}",
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": "benchmark",
            "SegmentedPropertyCategoryCodeSequence": category,
            "SegmentedPropertyTypeCodeSequence": kind,
            "recommendedDisplayRGBValue": [200, 100, 20 * number % 256],
        }
        for number in range(1, labels + 1)
    ]
    return {
        "ContentCreatorName": "Benchmark",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "SeriesDescription": "Segmentation",
        "ContentLabel": "SEGMENTATION",
        "ContentDescription": "benchmark",
        "BodyPartExamined": "",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "segmentAttributes": [segments],
    }


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _dcmqi_write(folder: Path, target: Path) -> None:
    command = [_program("itkimage2segimage"), "--inputImageList", folder / "labels.nrrd", "--inputDICOMDirectory"]
    command += [folder / "series", "--outputDICOM", target, "--inputMetadata", folder / "metadata.json"]
    subprocess.run(command, check=True, capture_output=True)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "series").iterdir())


def _series(folder: Path) -> ImageSeries:
    return read_series(path.read_bytes() for path in _files(folder))


def _identity() -> ResultIdentity:
    now = time.time_ns()
    uids = derived_uid("speed", "result-series", str(now)), derived_uid("speed", "result", str(now))
    return ResultIdentity(*uids, 300, "benchmark", "speed", 1, "1", datetime(2026, 1, 2, tzinfo=UTC))


def _ours(step: str, folder: Path) -> Callable[[], Any]:
    """The step, ready to be timed."""
    if step == "read series":
        return lambda: _series(folder).volume.voxels_DHW
    series = _series(folder)
    if step == "read SEG":
        return lambda: read_annotation((folder / "seg.dcm").read_bytes(), series).segments
    labels_DHW = np.load(folder / "labels.npy")
    segments = [
        SegmentDescription(number, f"label {number}", ANATOMICAL_STRUCTURE, _TYPE, (200, 100, 20 * number % 256))
        for number in range(1, int(labels_DHW.max()) + 1)
    ]
    return lambda: (folder / "ours.dcm").write_bytes(write_prediction(series, labels_DHW, segments, _identity()))


def _highdicom(step: str, folder: Path) -> Callable[[], Any]:
    if step == "read series":
        return lambda: hd.get_volume_from_series([dcmread(path) for path in _files(folder)], dtype=np.float32).array
    if step == "read SEG":
        return lambda: hd.seg.segread(folder / "seg.dcm").get_volume(combine_segments=True, slice_start=1, dtype=np.uint8)
    headers = [dcmread(path, stop_before_pixels=True) for path in _files(folder)]
    labels_DHW = np.load(folder / "labels.npy")
    return lambda: _highdicom_write(folder, headers, labels_DHW)


def _highdicom_write(folder: Path, headers: list[Dataset], labels_DHW: Any) -> None:
    described = [
        hd.seg.SegmentDescription(
            number,
            f"label {number}",
            hd.sr.CodedConcept(ANATOMICAL_STRUCTURE.value, ANATOMICAL_STRUCTURE.scheme, ANATOMICAL_STRUCTURE.meaning),
            hd.sr.CodedConcept(_TYPE.value, _TYPE.scheme, _TYPE.meaning),
            "AUTOMATIC",
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                "benchmark", hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"), "1"
            ),
            display_color=colour_of((200, 100, 20 * number % 256)),
        )
        for number in range(1, int(labels_DHW.max()) + 1)
    ]
    uids = hd.UID(), 300, hd.UID(), 1
    hd.seg.Segmentation(headers, labels_DHW, "BINARY", described, *uids, "benchmark", "benchmark", "1", "1").save_as(
        folder / "highdicom.dcm"
    )


def _simpleitk(_: str, folder: Path) -> Callable[[], Any]:
    return lambda: sitk.GetArrayFromImage(sitk.ReadImage([str(path) for path in _files(folder)], sitk.sitkFloat32))


def _dcmqi(step: str, folder: Path) -> Callable[[], Any]:
    if step == "write SEG":
        return lambda: _dcmqi_write(folder, folder / "dcmqi.dcm")
    command = [
        _program("segimage2itkimage"),
        "--inputDICOM",
        folder / "seg.dcm",
        "--outputDirectory",
        folder,
        "--mergeSegments",
    ]
    return lambda: subprocess.run([*command, "-t", "nrrd", "-p", "dcmqi"], check=True, capture_output=True)


_PREPARE: dict[str, Callable[[str, Path], Callable[[], Any]]] = {
    "ours": _ours,
    "highdicom": _highdicom,
    "SimpleITK": _simpleitk,
    "dcmqi": _dcmqi,
}


def measure(tool: str, step: str, folder: Path) -> dict[str, Any]:
    """Seconds of one step and peak resident memory of this process, or of the program that it started, in MiB."""
    with lenient():
        run = _PREPARE[tool](step, folder)
        began = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - began
    who = resource.RUSAGE_CHILDREN if tool == "dcmqi" else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss / 1024
    _check(tool, step, folder, result)
    return {"seconds": seconds, "peak_mib": peak}


def _check(tool: str, step: str, folder: Path, result: Any) -> None:
    """All tools have to arrive at the same voxels."""
    labels_DHW = np.load(folder / "labels.npy")
    if step == "read series":
        ends = [dcmread(path).pixel_array - 1024.0 for path in (_files(folder)[0], _files(folder)[-1])]
        if not any(np.array_equal(result[[0, -1]], order) for order in (ends, ends[::-1])):
            raise AssertionError(f"{tool} read other voxels")
        return
    if step == "write SEG":
        result = read_annotation((folder / f"{tool}.dcm").read_bytes(), _series(folder)).segments
    elif tool == "dcmqi":
        result = sitk.GetArrayFromImage(sitk.ReadImage(str(next(folder.glob("dcmqi*.nrrd")))))
    elif tool == "highdicom":
        result = result.array
    if isinstance(result, np.ndarray):
        counts = dict(enumerate(np.bincount(result.ravel())[1:].tolist(), start=1))
    else:
        counts = {segment.number: int(segment.mask_DHW.sum()) for segment in result}
    if counts != dict(enumerate(np.bincount(labels_DHW.ravel())[1:].tolist(), start=1)):
        raise AssertionError(f"{tool} has other voxels after {step}")


def compare(folder: Path, runs: int) -> None:
    """Measures all, each tool in turn, and prints the table."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in range(runs):
        for step, tools in STEPS.items():
            for turn in range(len(tools)):
                tool = tools[(run + turn) % len(tools)]
                command = [sys.executable, __file__, "--measure", tool, step, str(folder)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found.setdefault((step, tool), []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f"medians of {runs} runs")
    print("| step | tool | seconds | times ours | peak MiB |")
    print("|---|---|---|---|---|")
    for (step, tool), measured in sorted(found.items(), key=lambda one: (list(STEPS).index(one[0][0]), one[0][1] != "ours")):
        seconds, ours = (statistics.median(one["seconds"] for one in some) for some in (measured, found[step, "ours"]))
        peak = statistics.median(one["peak_mib"] for one in measured)
        print(f"| {step} | {tool} | {seconds:.2f} | {seconds / ours:.2f} | {peak:.0f} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--measure", nargs=3, metavar=("TOOL", "STEP", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        tool, step, folder = chosen.measure
        print(json.dumps(measure(tool, step, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), chosen.slices, chosen.size, chosen.labels)
        compare(Path(name), chosen.runs)


if __name__ == "__main__":
    main()
