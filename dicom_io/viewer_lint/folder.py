"""The image series that an object belongs to, found in a folder of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.datasets import UNREADABLE, lenient, parse, text
from dicom_io.read_series import read_series
from dicom_io.references import references_of
from dicom_io.viewer_lint.model import Kind, kind_of
from dicom_io.volume import ImageSeries

_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "ImageOrientationPatient", "NumberOfFrames")


@dataclass(frozen=True)
class SourceFolder:
    """A folder, its sub-folders included, that may hold several series beside other files.

    Attributes:
        series: SOP Instance UID to file, for each Series Instance UID of images.
    """

    series: Mapping[str, Mapping[str, Path]]
    _read: dict[tuple[str, frozenset[tuple[str, int]]], ImageSeries] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path) -> SourceFolder:
        """Looks at the header of every file.

        Raises:
            OSError: the folder or a file in it cannot be read.
        """
        series: dict[str, dict[str, Path]] = {}
        with lenient():
            for path, header in _headers(folder):
                if kind_of(text(header, "SOPClassUID")) is Kind.OTHER and text(header, "SeriesInstanceUID"):
                    series.setdefault(text(header, "SeriesInstanceUID"), {})[text(header, "SOPInstanceUID")] = path
        return cls(series)

    def source_of(self, file: bytes) -> ImageSeries | None:
        """The series that an object mentions most; the only one where it mentions none; None where neither is there.

        Of a series of several volumes it is the one that the object refers to.

        Raises:
            DicomIoError: the object is damaged, or the series is no volume.
            OSError: a file cannot be read.
        """
        dataset = parse(file)
        with lenient():
            references = references_of(dataset)
        mentioned = {*references.series, *references.instances}
        counts = {uid: len(mentioned & {uid, *files}) for uid, files in self.series.items()}
        best = max(counts, key=lambda uid: (counts[uid], uid), default="")
        if not best or (counts[best] == 0 and len(self.series) > 1):
            return None
        wanted = frozenset(references.frames) or frozenset((uid, 0) for uid in references.instances)
        if (best, wanted) not in self._read:
            files = (path.read_bytes() for _, path in sorted(self.series[best].items()))
            self._read[best, wanted] = read_series(files, wanted)
        return self._read[best, wanted]


def _headers(folder: Path) -> Iterator[tuple[Path, Dataset]]:
    """DICOM files and what tells their series."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _is_dicom(path):
            try:
                yield path, dcmread(path, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            except UNREADABLE:
                continue


def _is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM Part 10 file (PS3.10 section 7.1)."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
