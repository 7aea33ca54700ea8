"""Errors that ``dicom_io`` raises. Each names the object concerned (a UID, never a patient) and the remedy.

::

    DicomIoError
    ├── InvalidObject            not DICOM, truncated, or contradicts itself
    ├── UnsupportedObject        valid, but of a kind that we do not read
    ├── EmptyAnnotation          nothing is drawn in it
    ├── SeriesNotAVolume         the series is no regular stack of slices
    ├── SourceMissing            the images that an annotation refers to are not at hand (answered once they arrive)
    ├── GeometryMismatch         annotation and image lie in different spaces
    └── PacsError
        ├── PacsUnavailable      no answer, or a 5xx: worth trying again
        ├── PacsRefused          a definite no to an object or a request: trying again will not help
        │   └── PacsClosed       no to everything (credentials, rights, address): worth trying again once somebody put it right
        └── NotInPacs            the object asked for is not (or no longer) there
"""

from __future__ import annotations

_MAX_TOLD = 400
"""Characters; longer than any subject or problem that is worded here."""


class DicomIoError(Exception):
    """Base of all errors of this package.

    Args:
        subject: what is concerned, by UID, identifier or address; never by a patient attribute.
        problem: what is wrong, as one clause.
        remedy: what somebody can do about it, as one sentence.
    """

    code = "dicom-io"

    def __init__(self, subject: str, problem: str, remedy: str) -> None:
        subject, problem = _tellable(subject), _tellable(problem)
        super().__init__(f"{subject}: {problem}. {remedy}")
        self.subject = subject
        self.problem = problem
        self.remedy = remedy


def _tellable(words: str) -> str:
    """Fit for a log line and a page: values of a damaged object can be of any length and hold control characters."""
    printable = "".join(character if character.isprintable() else "?" for character in words[:_MAX_TOLD])
    return printable if len(words) <= _MAX_TOLD else printable + "..."


class InvalidObject(DicomIoError):
    """The bytes are not a DICOM object, are cut off, or contradict themselves."""

    code = "invalid-object"


class UnsupportedObject(DicomIoError):
    """A valid object of a kind, or with a property, that is not read here."""

    code = "unsupported-object"


class EmptyAnnotation(DicomIoError):
    """An annotation object in which nothing is drawn."""

    code = "empty-annotation"


class SeriesNotAVolume(DicomIoError):
    """The instances of a series do not make one regular stack of slices."""

    code = "series-not-a-volume"


class SourceMissing(DicomIoError):
    """The image series that an annotation refers to is not at hand."""

    code = "source-missing"


class GeometryMismatch(DicomIoError):
    """Annotation and image do not lie in the same space, so that no voxel corresponds to another."""

    code = "geometry-mismatch"


class PacsError(DicomIoError):
    """Base of what an archive answers badly."""

    code = "pacs"


class PacsUnavailable(PacsError):
    """No answer, a broken one, or a server error: worth trying again later."""

    code = "pacs-unavailable"


class PacsRefused(PacsError):
    """A definite no to an object or a request: trying again will not help."""

    code = "pacs-refused"


class PacsClosed(PacsRefused):
    """The archive does not let us in, or is not at its address; all goes on once that is put right."""

    code = "pacs-closed"


class NotInPacs(PacsError):
    """The object asked for is not, or no longer, in the archive."""

    code = "not-in-pacs"
