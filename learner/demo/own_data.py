"""The user's own images for the demo: ``--data FOLDER``.

Two forms are understood. NIfTI: subfolders ``images`` and ``labels`` with files of the same names; slices are taken along the
third axis, and the series that are made of them are said to be of a fictitious patient. DICOM: image series (MR, CT) and
segmentations of them anywhere below the folder; the images are sent as they are, to the demo's own node on this machine and
nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from rich.console import Console
from rich.progress import track

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.datasets import text
from dicom_io.errors import DicomIoError
from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from dicom_io.pacs.part10 import read_whole
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import READABLE_CLASSES, read_series
from dicom_io.results import SegmentDescription
from learner.demo.cases import SERIES_DESCRIPTION, DemoCase, DemoData
from learner.demo.errors import DemoError
from learner.demo.modality import Order, image_series
from learner.demo.variations import Scan

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SUFFIXES = (".nii", ".nii.gz")
_TISSUE = Code("85756007", "SCT", "Tissue")
_COLOURS = ((230, 140, 60), (70, 150, 220), (110, 190, 90), (200, 90, 170), (220, 210, 80), (90, 200, 200))
_UNREADABLE = (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, ValueError)  # what nibabel raises
_LARGEST_VALUE = 4000.0


def own_data(folder: Path, run: str, console: Console, limit: int | None = None) -> DemoData:
    """The cases of the user's folder, in the order of their names.

    Args:
        folder: see the head of this module.
        run: name of this run; part of the UIDs of series that are made here.
        console: where progress goes.
        limit: number of cases at most.

    Raises:
        DemoError: if there is nothing to play in it; the message says what was looked for.
    """
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return _from_nifti(folder, run, console, limit)
    if folder.is_dir():
        return _from_dicom(folder, console, limit)
    raise DemoError(f"{folder} is no folder; give one with images/ and labels/ (NIfTI), or with DICOM series and their SEGs")


def _from_nifti(folder: Path, run: str, console: Console, limit: int | None) -> DemoData:
    names = sorted(path.name for path in (folder / "images").iterdir() if path.name.endswith(_SUFFIXES))
    names = [name for name in names if (folder / "labels" / name).is_file()][:limit]
    if not names:
        raise DemoError(f"{folder}/images and {folder}/labels have no NIfTI files of the same name; give both the same names")
    cases, label_count = [], 1
    for number, name in enumerate(track(names, "reading the images", console=console, transient=True), start=1):
        scan = _nifti_scan(folder, name)
        label_count = max(label_count, int(scan.truth_DHW.max()))
        files = image_series(scan, Order(number, run, SERIES_DESCRIPTION, body_part=""))
        cases.append(DemoCase(scan.name, scan.subject, scan.remark, tuple(files), scan.truth_DHW))
    segments = tuple(
        SegmentDescription(n, f"Structure {n}", ANATOMICAL_STRUCTURE, _TISSUE, _COLOURS[(n - 1) % len(_COLOURS)])
        for n in range(1, label_count + 1)
    )
    return DemoData(tuple(cases), segments, f"Images of {folder.name}", "own", ("MR",), f"^{SERIES_DESCRIPTION}$")


def _nifti_scan(folder: Path, name: str) -> Scan:
    """Image and labels of one pair of files on a right-handed grid whose slices follow the third axis."""
    try:
        image = nibabel.Nifti1Image.from_filename(folder / "images" / name)
        labels = nibabel.Nifti1Image.from_filename(folder / "labels" / name)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        truth = np.asarray(labels.dataobj)
    except _UNREADABLE as error:
        raise DemoError(f"{name} cannot be read as NIfTI ({type(error).__name__}); check both files of that name") from None
    if voxels.ndim != 3 or voxels.shape != truth.shape:
        raise DemoError(f"{name}: image {voxels.shape} and labels {truth.shape} are no volumes of one shape")
    if truth.min() < 0 or truth.max() > 254 or not truth.any():
        raise DemoError(f"{name}: labels are to be numbers from 1 to 254, and one of them at least is to be there")
    affine = (_RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64))[:, [2, 1, 0, 3]]
    voxels_DHW, truth_DHW = voxels.transpose(2, 1, 0), truth.transpose(2, 1, 0)
    if np.dot(np.cross(affine[:3, 2], affine[:3, 1]), affine[:3, 0]) < 0:  # DICOM slices ascend along row x column
        affine[:3, 3] += affine[:3, 0] * (voxels_DHW.shape[0] - 1)
        affine[:3, 0] *= -1
        voxels_DHW, truth_DHW = voxels_DHW[::-1], truth_DHW[::-1]
    shape = (voxels_DHW.shape[0], voxels_DHW.shape[1], voxels_DHW.shape[2])
    stem = name.removesuffix(".gz").removesuffix(".nii")
    geometry = Geometry(shape, affine, derived_uid("demo", "own", stem))
    return Scan(stem, stem, "own image", _to_int16(voxels_DHW), truth_DHW.astype(np.uint8), geometry)


def _to_int16(voxels_DHW: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Whole numbers as they are where they fit, everything else on a scale up to 4000."""
    finite = np.nan_to_num(voxels_DHW, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    whole = bool(np.array_equal(finite, np.rint(finite)))
    if whole and low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max:
        return np.asarray(finite, dtype=np.int16)
    return np.asarray(np.rint((finite - low) * (_LARGEST_VALUE / max(high - low, 1e-12))), dtype=np.int16)


def _from_dicom(folder: Path, console: Console, limit: int | None) -> DemoData:
    series: dict[str, list[bytes]] = defaultdict(list)
    segmentations: list[bytes] = []
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in track(paths, "reading the images", console=console, transient=True):
        file = path.read_bytes()
        try:
            dataset = read_whole(file)
        except DicomIoError:
            continue  # whatever else lies there
        if text(dataset, "Modality") == "SEG":
            segmentations.append(file)
        elif text(dataset, "SOPClassUID") in READABLE_CLASSES:
            series[text(dataset, "SeriesInstanceUID")].append(file)
    pairs = _pairs(series, segmentations)[:limit]
    if not pairs:
        raise DemoError(f"{folder} has no MR or CT series with a DICOM SEG of it; nor has it the subfolders images and labels")
    segments: tuple[SegmentDescription, ...] = ()
    cases, modalities = [], set()
    for number, (files, segmentation) in enumerate(pairs, start=1):
        case, segments, modality = _dicom_case(files, segmentation, number, segments)
        cases.append(case)
        modalities.add(modality)
    return DemoData(tuple(cases), segments, f"Images of {folder.name}", "own", tuple(sorted(modalities)), "")


def _pairs(series: dict[str, list[bytes]], segmentations: list[bytes]) -> list[tuple[list[bytes], bytes]]:
    """Each series with the first segmentation that refers to it."""
    pairs: dict[str, tuple[list[bytes], bytes]] = {}
    for file in segmentations:
        for uid in inspect(file).referenced_series_uids:
            if uid in series and uid not in pairs:
                pairs[uid] = (series[uid], file)
    return list(pairs.values())


def _dicom_case(
    files: list[bytes], segmentation: bytes, number: int, known: tuple[SegmentDescription, ...]
) -> tuple[DemoCase, tuple[SegmentDescription, ...], str]:
    """One case, all labels so far, and the modality. Labels are told apart by their names."""
    try:
        source = read_series(files)
        drawing = read_annotation(segmentation, source)
    except DicomIoError as error:
        raise DemoError(f"case {number} of the folder cannot be used: {error}") from None
    truth_DHW = np.zeros(source.volume.geometry.shape, dtype=np.uint8)
    names = {segment.name: segment for segment in known}
    for segment in drawing.segments:
        if segment.label not in names:
            place = len(names) + 1
            category, kind = segment.category or ANATOMICAL_STRUCTURE, segment.type or _TISSUE
            colour = _COLOURS[(place - 1) % len(_COLOURS)]
            names[segment.label] = SegmentDescription(place, segment.label, category, kind, colour)
        truth_DHW[segment.mask_DHW] = names[segment.label].number
    modality = source.volume.series.modality
    case = DemoCase(f"case-{number}", f"own {modality}", "own image", tuple(files), truth_DHW)
    return case, tuple(names.values()), modality
