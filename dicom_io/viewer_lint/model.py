"""What a rule is, what it finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicom_io.annotation_header import LABELMAP_CLASS, RTSTRUCT_CLASS, SEGMENTATION_CLASS
from dicom_io.datasets import UNREADABLE, first_item, integer, items, numbers, text
from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float64]

PARAMETRIC_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
KEY_OBJECT_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"
_SR_ROOT = "1.2.840.10008.5.1.4.1.1.88."
_CAPTURE_ROOT = "1.2.840.10008.5.1.4.1.1.7"
SAME_POSITION_MM = 1e-3
"""How exactly a position has to repeat that of its slice for OHIF to know the slice by it (Cornerstone3D, ``tolerance``)."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """A viewer that shows this kind of object shows nothing of it, or not all, or in the wrong place."""
    WARNING = "warning"
    """Some viewer or an older version does not show it, or shows it less well."""


class Viewer(StrEnum):
    """The viewers whose rules are known."""

    OHIF = "OHIF"
    SLICER = "3D Slicer"
    WEASIS = "Weasis"
    STONE = "Stone"


class Kind(StrEnum):
    """Kinds of objects, as rules tell them apart."""

    SEG = "Segmentation"
    MAP = "Parametric Map"
    SR = "Structured Report"
    KEY_OBJECTS = "Key Object Selection"
    RTSTRUCT = "RT Structure Set"
    CAPTURE = "Secondary Capture"
    OTHER = "other"


def kind_of(sop_class_uid: str) -> Kind:
    """The kind of an object by its SOP Class UID."""
    if sop_class_uid in (SEGMENTATION_CLASS, LABELMAP_CLASS):
        return Kind.SEG
    exact = {PARAMETRIC_MAP_CLASS: Kind.MAP, KEY_OBJECT_CLASS: Kind.KEY_OBJECTS, RTSTRUCT_CLASS: Kind.RTSTRUCT}
    if sop_class_uid in exact:
        return exact[sop_class_uid]
    if sop_class_uid.startswith(_SR_ROOT):
        return Kind.SR
    if sop_class_uid == _CAPTURE_ROOT or sop_class_uid.startswith(f"{_CAPTURE_ROOT}."):
        return Kind.CAPTURE
    return Kind.OTHER


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that an object breaks.

    Attributes:
        rule: name of the rule.
        severity: how bad it is.
        viewers: the viewers that it concerns.
        what: what is wrong with the object, one sentence.
        reason: what viewers make of it, and how that is known.
        remedy: what to change, one sentence.
    """

    rule: str
    severity: Severity
    viewers: tuple[Viewer, ...]
    what: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One display rule.

    Attributes:
        name: short name, unique.
        severity: of all its findings.
        kinds: the kinds of objects that it is for.
        viewers: the viewers that it concerns.
        reason: what viewers do with an object that breaks it, and how that is known.
        remedy: what to change.
        check: one sentence for each time the object breaks it.
    """

    name: str
    severity: Severity
    kinds: tuple[Kind, ...]
    viewers: tuple[Viewer, ...]
    reason: str
    remedy: str
    check: Callable[[Subject], Iterator[str]]

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What is found in one object."""
        for what in self.check(subject):
            yield Finding(self.name, self.severity, self.viewers, what, self.reason, self.remedy)


@dataclass(frozen=True, eq=False)
class Frame:
    """What the functional groups of one frame say.

    Attributes:
        segment: Referenced Segment Number, 0 where absent.
        image: Referenced SOP Instance UID and frame number (0 for none) of its first source image; None where its own group
            names none.
        position: Image Position (Patient) of its own or the shared group.
        has_own_position: whether its own group states the position.
    """

    segment: int
    image: tuple[str, int] | None
    position: FloatArray | None
    has_own_position: bool


@dataclass(frozen=True, eq=False)
class Subject:
    """What rules look at.

    Attributes:
        dataset: the object.
        source: the image series that it belongs to; None leaves out what compares with it.
        siblings: objects of its series that were given, itself included.
    """

    dataset: Dataset
    source: ImageSeries | None
    siblings: int = 1

    @cached_property
    def shared(self) -> Dataset:
        """The shared functional group; empty where absent."""
        return first_item(self.dataset, "SharedFunctionalGroupsSequence")

    @cached_property
    def groups(self) -> Sequence[Dataset]:
        """The functional groups of each frame."""
        return items(self.dataset, "PerFrameFunctionalGroupsSequence")

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """What the functional groups say."""
        shared_position = _position(self.shared)
        shared_segment = _segment(self.shared)
        found = []
        for group in self.groups:
            own = _position(group)
            position = shared_position if own is None else own
            found.append(Frame(_segment(group) or shared_segment, _image(group), position, own is not None))
        return tuple(found)

    @cached_property
    def orientation(self) -> FloatArray | None:
        """Image Orientation (Patient) of the shared or the first frame's group, ``(6,)``."""
        for group in (self.shared, *self.groups[:1]):
            found = numbers(first_item(group, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
            if found is not None:
                return found
        return None

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return integer(self.dataset, "Rows"), integer(self.dataset, "Columns")

    def pixels(self, keyword: str) -> bytes:
        """The value of an element of pixels; nothing where it is absent or unreadable."""
        try:
            value = self.dataset.get(keyword)
        except UNREADABLE:
            return b""
        return value if isinstance(value, bytes) else b""

    @cached_property
    def transfer_syntax(self) -> UID:
        """Transfer Syntax UID of the file; empty where it states none."""
        return UID(text(self.dataset.file_meta, "TransferSyntaxUID"))

    @property
    def is_compressed(self) -> bool:
        """Whether the pixels are encapsulated (PS3.5 section A.4)."""
        syntax = self.transfer_syntax
        return syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated


@dataclass(frozen=True, eq=False)
class Slices:
    """The acquired slices of a source, to find them by reference and by position."""

    source: ImageSeries

    @cached_property
    def is_multi_frame(self) -> bool:
        """Whether the slices are frames of one image."""
        return any(one.frame_number for one in self.source.slices)

    @cached_property
    def positions(self) -> FloatArray:
        """Positions as acquired, ``(slice, 3)``, LPS mm."""
        return np.array([one.position for one in self.source.slices])

    @cached_property
    def orientation(self) -> FloatArray:
        """Image Orientation (Patient) of the slices, ``(6,)``."""
        geometry = self.source.volume.geometry
        _, height, width = geometry.spacing_DHW
        return np.concatenate([geometry.affine[:3, 2] / width, geometry.affine[:3, 1] / height])

    @cached_property
    def _by_image(self) -> dict[tuple[str, int], int]:
        return {(one.sop_instance_uid, one.frame_number): index for index, one in enumerate(self.source.slices)}

    @cached_property
    def uids(self) -> frozenset[str]:
        """SOP Instance UIDs of the slices."""
        return frozenset(one.sop_instance_uid for one in self.source.slices)

    def named_by(self, frame: Frame) -> int:
        """Index of the slice that a frame names; -1 for none."""
        return -1 if frame.image is None else self.of(*frame.image)

    def of(self, sop_instance_uid: str, frame_number: int) -> int:
        """Index of the slice of that image and frame (of no consequence for single-frame images); -1 for none."""
        return self._by_image.get((sop_instance_uid, frame_number if self.is_multi_frame else 0), -1)

    def at(self, frame: Frame) -> int:
        """Index of the slice at the position that a frame's own group states; -1 for none."""
        if frame.position is None or not frame.has_own_position:
            return -1
        off = np.abs(self.positions - frame.position).max(axis=1)
        nearest = int(off.argmin())
        return nearest if off[nearest] <= SAME_POSITION_MM else -1


def _segment(group: Dataset) -> int:
    return integer(first_item(group, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")


def _position(group: Dataset) -> FloatArray | None:
    return numbers(first_item(group, "PlanePositionSequence"), "ImagePositionPatient", 3)


def _image(group: Dataset) -> tuple[str, int] | None:
    """The first source image of the first derivation: the one that OHIF looks at."""
    image = first_item(first_item(group, "DerivationImageSequence"), "SourceImageSequence")
    uid = text(image, "ReferencedSOPInstanceUID")
    return (uid, integer(image, "ReferencedFrameNumber")) if uid else None
