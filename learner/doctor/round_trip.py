"""The one check that writes: a small study of its own is stored, read back, and deleted.

It says what it is: Study Description "apprentice doctor: test, may be deleted", Patient ID "APPRENTICE-DOCTOR". The
segmentation goes by the way in which the node stores its results, so that rights and SOP classes are tried as they are needed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from pydicom import Dataset, dcmread

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.errors import NotInPacs, PacsError
from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from dicom_io.pacs.port import Archive
from dicom_io.read_series import read_series
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.write_seg import write_prediction
from learner.demo.modality import Order, image_series
from learner.demo.variations import Scan
from learner.doctor.findings import Findings, error, ok, warning
from learner.doctor.site import Site
from learner.wiring.archive import build_archive, build_sink

DESCRIPTION = "apprentice doctor: test, may be deleted"
PATIENT_ID = "APPRENTICE-DOCTOR"
_SHAPE_DHW = (3, 16, 16)
_SEGMENT = SegmentDescription(
    1, "Test object", ANATOMICAL_STRUCTURE, Code("91723000", "SCT", "Anatomical Structure"), (230, 120, 60)
)


def segmentation(site: Site) -> Findings:
    """Three images and a segmentation of them are stored, read back, compared, and deleted."""
    if not site.is_orthanc:
        kind = site.settings.pacs.kind
        yield warning(f"not tried: pacs.kind = {kind} cannot delete what was stored", "Store a result by hand, and look.")
        return
    files = _study()
    series = tuple(dict.fromkeys(str(_read(file).SeriesInstanceUID) for file in files))
    with closing(build_archive(site.settings.pacs)) as archive:
        sink = build_sink(site.settings.pacs, archive)
        try:
            for file in files:
                sink.store(file)
            returned = archive.fetch_series(archive.find_series(series[-1]))
        except PacsError as fault:
            remedy = "Give pacs.user the right to store, and let the archive accept segmentations (docs/existing-pacs.md)."
            yield error(f"a segmentation cannot be stored and read: {fault}", remedy)
        else:
            yield from _compared(files[-1], returned, by=site.settings.pacs.store_by)
        finally:
            remaining = _delete(archive, series)
    if remaining:
        what = f"the test study ({DESCRIPTION}) could not be deleted: {remaining}"
        yield error(what, "Delete it by hand; give pacs.user the right to delete series, or set answer.keep_superseded.")


def _compared(sent: bytes, returned: Sequence[bytes], *, by: str) -> Findings:
    if len(returned) == 1 and returned[0] == sent:
        yield ok(f"a segmentation stored by {by} came back byte for byte, and was deleted")
    elif len(returned) == 1 and _read(returned[0]) == _read(sent):
        yield ok(f"a segmentation stored by {by} came back with the same content, and was deleted")
    else:
        what = f"a segmentation stored by {by} came back changed"
        remedy = "Turn off what changes objects on arrival: IngestTranscoding, a Lua or Python filter, an anonymizing router."
        yield error(what, remedy)


def _delete(archive: Archive, series: Sequence[str]) -> str:
    """Deletes what was stored, the segmentation first: without its images the node would take it for one that waits for them.

    Says why it could not.
    """
    why = ""
    for uid in reversed(series):
        try:
            archive.delete_series(uid)
        except NotInPacs:
            continue
        except PacsError as fault:
            why = str(fault)
    return why


def _study() -> list[bytes]:
    """Three images and, last, their segmentation: as many bytes as it takes to be valid."""
    run = secrets.token_hex(8)
    voxels_DHW = np.arange(np.prod(_SHAPE_DHW), dtype=np.int16).reshape(_SHAPE_DHW)
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    mask_DHW = np.zeros(_SHAPE_DHW, np.uint8)
    mask_DHW[1:, 4:12, 5:11] = 1
    scan = Scan("doctor", "Nobody", "test object", voxels_DHW, mask_DHW, Geometry(_SHAPE_DHW, affine, "1.2.3"))
    now = datetime.now(UTC).replace(tzinfo=None)
    order = Order(1, f"doctor-{run}", DESCRIPTION, study_description=DESCRIPTION, body_part="", date=f"{now:%Y%m%d}")
    images = [_marked(file) for file in image_series(scan, order)]
    names = (derived_uid("doctor", run, "series"), derived_uid("doctor", run, "object"))
    identity = ResultIdentity(*names, 2, DESCRIPTION, "doctor", 0, "test", now)
    return [*images, write_prediction(read_series(images), mask_DHW, [_SEGMENT], identity)]


def _marked(file: bytes) -> bytes:
    dataset = dcmread(BytesIO(file))
    dataset.PatientName, dataset.PatientID = "Doctor^Test object", PATIENT_ID
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _read(file: bytes) -> Dataset:
    return dcmread(BytesIO(file))
