"""Valid inputs to mutate: each kind of object that the product reads, in several encodings.

Every file carries the same patient (:data:`CANARIES`), who must never appear in an error or a log.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
from dicom_phantoms import SEGMENTS, blobs, identity, make_series
from enhanced_phantoms import make_enhanced
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.results import SuggestedSlice
from dicom_io.volume import ImageSeries
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction

CANARIES = ("ZEBRA", "CANARY-77113", "18880808")
"""Patient's Name, ID and Birth Date of every file hold one of these."""
SHAPE = (5, 40, 48)
MAX_FILES = 6
"""Real series are cut to their first files, so that an input stays small."""


@dataclass(frozen=True, eq=False)
class Seed:
    """One valid input.

    Attributes:
        kind: what it is, for the table.
        files: DICOM files: one annotation object, or the instances of a series.
        source: the files of the series that an annotation was drawn on; empty for a series.
    """

    kind: str
    files: tuple[bytes, ...]
    source: tuple[bytes, ...] = ()


def corpus(data: Path | None = None) -> dict[str, Seed]:
    """All seeds by name, the files of ``data/dicom`` among them where that folder exists."""
    seeds = {**_series_seeds(), **_annotation_seeds()}
    if data and (data / "dicom").is_dir():
        seeds |= _real_seeds(data / "dicom")
    return seeds


def _voxels() -> np.ndarray:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    noise = np.random.default_rng(7).integers(0, 9, SHAPE)
    return np.asarray(50 * z + 3 * y + 5 * x + noise, dtype=np.uint16)


def _with_canary(dataset: Dataset) -> None:
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "ZEBRA^CANARY", "CANARY-77113", "18880808"


@lru_cache
def plain_series() -> tuple[bytes, ...]:
    """The series that annotations are drawn on."""
    return tuple(
        make_series(SHAPE, angles=(0.2, 0.1, -0.4), voxels_DHW=_voxels(), edit=lambda dataset, _index: _with_canary(dataset))
    )


@lru_cache
def plain_source() -> ImageSeries:
    return read_series(plain_series())


def _encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    with lenient():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _edited(files: tuple[bytes, ...], edit: Callable[[Dataset], None]) -> tuple[bytes, ...]:
    datasets = [dcmread(BytesIO(file)) for file in files]
    for dataset in datasets:
        edit(dataset)
    return tuple(_encoded(dataset) for dataset in datasets)


def _as_syntax(syntax: UID) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        if syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax

    return edit


def _big_endian(files: tuple[bytes, ...]) -> tuple[bytes, ...]:
    out = []
    for file in files:
        fresh = Dataset()  # pydicom does not save a dataset in another byte order than it was read in
        fresh.update(dcmread(BytesIO(file)))
        fresh.PixelData = np.frombuffer(fresh.PixelData, "<u2").astype(">u2").tobytes()
        fresh.file_meta = dcmread(BytesIO(file)).file_meta
        fresh.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        buffer = BytesIO()
        fresh.save_as(buffer, implicit_vr=False, little_endian=False, enforce_file_format=True)
        out.append(buffer.getvalue())
    return tuple(out)


def _as_jpeg(dataset: Dataset) -> None:
    """JPEG Baseline, 8 bits."""
    stored = (dataset.pixel_array // 2).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG")
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def _lossless_jpeg(files: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """JPEG Lossless by DCMTK, the one encoder of it at hand."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.dcm"), Path(folder, "after.dcm")
        for file in files:
            before.write_bytes(file)
            subprocess.run(["dcmcjpeg", "+e1", before, after], check=True, capture_output=True)
            out.append(after.read_bytes())
    return tuple(out)


def _lut(dataset: Dataset) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [512, 0, 16])
    item.ModalityLUTType = "HU"
    item.add_new("LUTData", "OW", np.arange(512, dtype="<u2").tobytes())
    dataset.ModalityLUTSequence = [item]


def _enhanced() -> tuple[bytes, ...]:
    files = make_enhanced(SHAPE, voxels_DHW=_voxels())
    return _edited(tuple(files), _with_canary)


def _series_seeds() -> dict[str, Seed]:
    plain = plain_series()
    made = {
        "explicit": plain,
        "implicit": _edited(plain, _as_syntax(ImplicitVRLittleEndian)),
        "big-endian": _big_endian(plain),
        "deflated": _edited(plain, _as_syntax(DeflatedExplicitVRLittleEndian)),
        "rle": _edited(plain, _as_syntax(RLELossless)),
        "jpeg2000": _edited(plain, _as_syntax(JPEG2000Lossless)),
        "jpegls": _edited(plain, _as_syntax(JPEGLSLossless)),
        "jpeg": _edited(plain, _as_jpeg),
        "jpeg-lossless": _lossless_jpeg(plain),
        "lut": _edited(plain, _lut),
        "enhanced": _enhanced(),
    }
    return {f"series-{name}": Seed("series", files) for name, files in made.items()}


def _segmentation(kind: hd.seg.SegmentationTypeValues, syntax: str) -> bytes:
    source = plain_source()
    labels_DHW = blobs(SHAPE)
    described = [
        hd.seg.SegmentDescription(
            segment_number=one.number,
            segment_label=one.name,
            segmented_property_category=hd.sr.CodedConcept(one.category.value, one.category.scheme, one.category.meaning),
            segmented_property_type=hd.sr.CodedConcept(one.type.value, one.type.scheme, one.type.meaning),
            algorithm_type="MANUAL",
        )
        for one in SEGMENTS
    ]
    with lenient():
        made = hd.seg.Segmentation(
            source_images=[dcmread(BytesIO(file)) for file in plain_series()],
            pixel_array=labels_DHW,
            segmentation_type=kind,
            segment_descriptions=described,
            series_instance_uid=derived_uid("fuzz", kind.value, syntax),
            series_number=9,
            sop_instance_uid=derived_uid("fuzz-instance", kind.value, syntax),
            instance_number=1,
            manufacturer="Phantom",
            manufacturer_model_name="Phantom",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=syntax,
            omit_empty_frames=False,
        )
        assert made.Rows == source.acquired_size[0]
        return _encoded(made)


def _annotation_seeds() -> dict[str, Seed]:
    source, labels_DHW = plain_source(), blobs(SHAPE)
    masks = {segment.number: labels_DHW == segment.number for segment in SEGMENTS if (labels_DHW == segment.number).any()}
    explicit, kinds = "1.2.840.10008.1.2.1", hd.seg.SegmentationTypeValues
    suggestions = [SuggestedSlice(2, 0.9, "largest residual"), SuggestedSlice(1, 0.4, "far from drawn slices")]
    made: Mapping[str, tuple[str, bytes]] = {
        "seg-ours": ("SEG", write_prediction(source, labels_DHW, SEGMENTS, identity())),
        "seg-drawn": ("SEG", write_drawing_seg(source, masks, SEGMENTS, "Reader^One", "drawn")),
        "seg-binary": ("SEG", _segmentation(kinds.BINARY, explicit)),
        "seg-fractional": ("SEG", _segmentation(kinds.FRACTIONAL, explicit)),
        "seg-labelmap": ("SEG", _segmentation(kinds.LABELMAP, explicit)),
        "seg-fractional-rle": ("SEG", _segmentation(kinds.FRACTIONAL, RLELossless)),
        "seg-fractional-jpeg2000": ("SEG", _segmentation(kinds.FRACTIONAL, JPEG2000Lossless)),
        "seg-labelmap-jpegls": ("SEG", _segmentation(kinds.LABELMAP, JPEGLSLossless)),
        "sr-contours": ("SR", write_contour_sr(source, masks, SEGMENTS, "Reader^One", "contours")),
        "rtstruct": ("RTSTRUCT", write_contours(source, labels_DHW, SEGMENTS, identity("contours"))),
        "ko-guidance": ("KO", write_key_objects(source, suggestions, identity("guidance"))),
        "map": ("map", write_residual_map(source, (labels_DHW > 0).astype(np.float32), identity("map"))),
    }
    seeds = {name: Seed(kind, (file,), plain_series()) for name, (kind, file) in made.items()}
    for name in ("seg-binary", "sr-contours", "rtstruct"):
        deflated = _edited(seeds[name].files, _as_syntax(DeflatedExplicitVRLittleEndian))
        seeds[f"{name}-deflated"] = Seed(seeds[name].kind, deflated, plain_series())
    return seeds


def _real_seeds(folder: Path) -> dict[str, Seed]:
    """Objects of other makers, with the series that they were drawn on where it lies beside them."""
    found: dict[Path, list[tuple[bytes, str]]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if read := _with_our_patient(path.read_bytes()):
            found.setdefault(path.parent, []).append(read)
    images = {directory: [file for file, kind in files if kind == "series"] for directory, files in found.items()}
    seeds = {}
    for directory, files in found.items():
        name = f"real-{directory.relative_to(folder)}"
        if images[directory]:
            seeds[name] = Seed("series", tuple(images[directory][:MAX_FILES]))
        beside = images[directory] or images.get(directory.parent / "image", ())
        source = _two_slices(beside[0]) if len(beside) == 1 else tuple(beside[:MAX_FILES]) or plain_series()
        for number, (file, kind) in enumerate(files):
            if kind != "series":
                seeds[f"{name}-{number}"] = Seed(kind, (file,), source)
    return seeds


def _two_slices(file: bytes) -> tuple[bytes, ...]:
    """A volume of an image that has no neighbours."""
    dataset = dcmread(BytesIO(file))
    if "ImageOrientationPatient" not in dataset:  # multi-frame
        return (file,)
    orientation = np.array(dataset.ImageOrientationPatient, dtype=float)
    beyond = np.array(dataset.ImagePositionPatient, dtype=float) + 5 * np.cross(orientation[:3], orientation[3:])
    dataset.ImagePositionPatient = [float(f"{value:.10g}") for value in beyond]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = derived_uid("neighbour", dataset.SOPInstanceUID)
    with lenient():
        return file, _encoded(dataset)


def _with_our_patient(file: bytes) -> tuple[bytes, str] | None:
    """A real file with our patient, and its kind; None for what is too big or no DICOM file."""
    if len(file) > 2_000_000 or file[128:132] != b"DICM":
        return None
    with lenient():
        dataset = dcmread(BytesIO(file))
        _with_canary(dataset)
        kinds = {"SEG": "SEG", "SR": "SR", "RTSTRUCT": "RTSTRUCT"}
        return _encoded(dataset), kinds.get(dataset.get("Modality", ""), "series")
