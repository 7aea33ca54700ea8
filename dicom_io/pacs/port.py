"""What the learner asks of an archive, in three small ports. The contract tests in ``tests/contract`` bind every adapter.

Concurrency: adapters may be used from several threads. Errors: :class:`~dicom_io.errors.PacsError` and its children only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class SeriesStatus:
    """A series as the archive has it at one moment.

    Attributes:
        archive_id: the archive's own identifier of the series (for DICOMweb and DIMSE the Series Instance UID).
        study_instance_uid: Study Instance UID.
        series_instance_uid: Series Instance UID.
        modality: Modality (0008,0060), empty where the archive does not say.
        series_description: Series Description, empty where absent.
        instance_ids: the archive's identifiers of its instances, sorted.
        is_stable: whether the archive has received nothing for it for a while.
        study_description: Study Description, empty where absent.
        body_part: Body Part Examined (0018,0015), empty where absent.
        protocol_name: Protocol Name (0018,1030), empty where absent.
        patient_id: Patient ID (0010,0020), empty where absent. Nothing but a keyed hash of it may be kept; no ``repr`` has it.
        issuer_of_patient_id: Issuer of Patient ID (0010,0021), empty where absent or not told; likewise.
    """

    archive_id: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    series_description: str
    instance_ids: tuple[str, ...]
    is_stable: bool
    study_description: str = ""
    body_part: str = ""
    protocol_name: str = ""
    patient_id: str = field(default="", repr=False)
    issuer_of_patient_id: str = field(default="", repr=False)


@dataclass(frozen=True)
class FeedPage:
    """One page of an archive's log.

    Attributes:
        touched: each series that the page speaks of, once, in the order of its last entry, as it is now. A series that
            is gone meanwhile is left out. Of a series whose instances pour in, its beginning and its becoming stable may be
            all that is told.
        cursor: where the next page begins.
        done: whether the log ends here for now.
    """

    touched: tuple[SeriesStatus, ...]
    cursor: int
    done: bool


class Feed(Protocol):
    """The log of what arrived, and a scan for what the log lost.

    The log is durable, or begins anew with each process and then tells everything once more; the cursor never goes back.
    """

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """The entries after ``cursor`` (0 for all), ``limit`` at most.

        Raises:
            PacsUnavailable, PacsRefused.
        """
        ...

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series of the archive as it is now; the reconciliation scan.

        Raises:
            PacsUnavailable, PacsRefused.
        """
        ...


class Source(Protocol):
    """Reading objects."""

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID.

        Raises:
            NotInPacs, PacsUnavailable, PacsRefused.
        """
        ...

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series Instance UIDs of the series that hold an instance of that SOP Instance UID, sorted.

        More than one only where somebody broke the rule that SOP Instance UIDs are unique.

        Raises:
            PacsUnavailable, PacsRefused.
        """
        ...

    def fetch(self, instance_id: str) -> bytes:
        """One instance as a DICOM Part 10 file.

        Raises:
            NotInPacs, PacsUnavailable, PacsRefused.
        """
        ...

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series as DICOM Part 10 files, in the order of ``series.instance_ids``.

        Raises:
            NotInPacs: if one of them is gone. PacsUnavailable, PacsRefused.
        """
        ...


class Sink(Protocol):
    """Writing objects."""

    def store(self, file: bytes) -> None:
        """Stores one DICOM Part 10 file; storing the same object again changes nothing.

        Raises:
            PacsUnavailable, PacsRefused.
        """
        ...


class Archive(Feed, Source, Sink, Protocol):
    """All three, and the deletion of superseded results, as Orthanc's REST API has them.

    Attributes:
        can_delete: whether ``delete_series`` takes a series away from where readers see it. Neither DICOMweb nor DIMSE has
            such a service; superseded results stay then.
    """

    @property
    def can_delete(self) -> bool:
        """Whether series can be deleted."""
        ...

    def delete_series(self, series_instance_uid: str) -> None:
        """Deletes a series; one that is gone already is no error.

        Raises:
            PacsUnavailable, PacsRefused: always, where series cannot be deleted.
        """
        ...
