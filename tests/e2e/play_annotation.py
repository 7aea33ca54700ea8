"""Plays a reader on the node of this machine, as a check of an installation: images in, a drawing in, the answer out.

Images by C-STORE to Orthanc's DICOM port, the drawing by its REST API; the answer is read back from there. Synthetic images, no
patient. Runs in the learner's own Python environment, as root (it reads the archive's password).

usage: python play_annotation.py PASSWORD_FILE
"""

from __future__ import annotations

import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from node_harness import dice, now, phantom, wait_for  # noqa: E402 - beside this file's folder

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code  # noqa: E402
from dicom_io.pacs.dimse import send  # noqa: E402
from dicom_io.pacs.orthanc_rest import OrthancArchive  # noqa: E402
from dicom_io.read_annotation import read_annotation  # noqa: E402
from dicom_io.read_series import read_series  # noqa: E402
from dicom_io.results import SegmentDescription  # noqa: E402
from dicom_io.volume import ImageSeries  # noqa: E402
from learner.demo.reader import Reader  # noqa: E402

_ZONE = SegmentDescription(
    1, "Peripheral zone", ANATOMICAL_STRUCTURE, Code("279706003", "SCT", "Peripheral zone of the prostate"), (230, 120, 60)
)
_DRAWN = [3, 7, 10]
_GOOD = 0.8
_MINUTES = 5 * 60.0


def prediction(archive: OrthancArchive, images: ImageSeries) -> np.ndarray | None:
    """The label map of the first answer in the archive, on the grid of the images; None before it is there."""
    study = images.volume.series.study_instance_uid
    for status in archive.scan():
        if status.study_instance_uid == study and " prediction r1" in status.series_description:
            (file,) = archive.fetch_series(status)
            labels_DHW = np.zeros(images.volume.geometry.shape, np.uint8)
            for segment in read_annotation(file, images).segments:
                labels_DHW[segment.mask_DHW] = segment.number
            return labels_DHW
    return None


def main(password_file: str) -> None:
    """Plays it, and says how it went."""
    archive = OrthancArchive("http://127.0.0.1:8042", "apprentice", Path(password_file).read_text("utf-8").strip())
    files, truth_DHW = phantom()
    send(files, ("127.0.0.1", 4242), called_aet="ORTHANC")
    series = str(dcmread(BytesIO(files[0]), stop_before_pixels=True).SeriesInstanceUID)
    wait_for(lambda: archive.find_series(series).is_stable, "the series to be stable")
    images = read_series(files)
    began = time.monotonic()
    archive.store(Reader(images, truth_DHW, (_ZONE,)).draw(_DRAWN, now()))
    answer_DHW = wait_for(lambda: [a] if (a := prediction(archive, images)) is not None else None, "the answer", _MINUTES)[0]
    seconds = time.monotonic() - began
    overlap = dice(answer_DHW, truth_DHW)
    assert np.array_equal(answer_DHW[_DRAWN] > 0, truth_DHW[_DRAWN] > 0), "drawn slices did not come back as drawn"
    assert overlap > _GOOD, f"the answer has a Dice of {overlap:.3f} only"
    sys.stdout.write(
        f"{len(_DRAWN)} of {len(files)} slices drawn; the answer stood in Orthanc after {seconds:.1f} s, Dice {overlap:.3f}\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
