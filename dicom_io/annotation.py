"""What a reader drew: as the object says it (:class:`Drawing`) and as the learner uses it (:class:`SparseAnnotation`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dicom_io.codes import Code

BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class AnnotationHeader:
    """What can be said of an annotation object before its images are at hand.

    Attributes:
        sop_instance_uid: SOP Instance UID (0008,0018).
        sop_class_uid: SOP Class UID (0008,0016).
        series_instance_uid: the object's own series.
        study_instance_uid: the object's study.
        modality: ``SEG``, ``SR`` or ``RTSTRUCT``.
        referenced_series_uids: image series that the object names, in its order; may be empty.
        referenced_sop_instance_uids: image instances that the object names; may be empty.
        referenced_frames: frames of multi-frame images that the object names, as SOP Instance UID and frame number from 1.
        frame_of_reference_uid: the object's frame of reference, or an empty string.
        reader: Content Creator's Name, Operators' Name or the observer of an SR; empty where none is given.
        description: Series Description or Content Label.
        manufacturer: Manufacturer (0008,0070) of the writing software.
        created: Content Date and Time as ``YYYYMMDDHHMMSS``, or an empty string.
        content_label: Content Label, Structure Set Label or the title of an SR; empty where absent.
        content_description: Content Description or Structure Set Description; empty where absent.
        station: Station Name (0008,1010), empty where absent.
        model: Manufacturer's Model Name (0008,1090), empty where absent.
        application_entity: Source Application Entity Title (0002,0016), empty where absent.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    referenced_series_uids: tuple[str, ...] = ()
    referenced_sop_instance_uids: tuple[str, ...] = ()
    referenced_frames: tuple[tuple[str, int], ...] = ()
    frame_of_reference_uid: str = ""
    reader: str = ""
    description: str = ""
    manufacturer: str = ""
    created: str = ""
    content_label: str = ""
    content_description: str = ""
    station: str = ""
    model: str = ""
    application_entity: str = ""


@dataclass(frozen=True, eq=False)
class DrawnSegment:
    """One segment, contour group or structure of an annotation object, on the grid of its source image.

    Attributes:
        number: Segment Number (0062,0004), or the position in the object from 1.
        label: Segment Label (0062,0005), tracking identifier or ROI name.
        category: segmented property category, where coded.
        type: segmented property type or finding, where coded.
        mask_DHW: bool, foreground on the source grid.
        algorithm_type: ``MANUAL``, ``SEMIAUTOMATIC``, ``AUTOMATIC``, or an empty string.
        algorithm_name: Segment Algorithm Name (0062,0009), or an empty string.
        tracking_identifier: Tracking ID (0062,0020), or an empty string.
        planes: array axis and index of each plane of the volume on which a contour lies; None for a voxel segmentation, whose
            frames do not say in which plane somebody drew.
    """

    number: int
    label: str
    category: Code | None
    type: Code | None
    mask_DHW: BoolArray
    algorithm_type: str = ""
    algorithm_name: str = ""
    tracking_identifier: str = ""
    planes: frozenset[tuple[int, int]] | None = None


@dataclass(frozen=True, eq=False)
class Drawing:
    """An annotation object read onto the grid of its source image; nothing is interpreted yet.

    Attributes:
        header: identity and references of the object.
        segments: all that the object *defines*, those without foreground included.
        remarks: what was left out or mended in reading, one sentence each.
        resampled: whether it lay on another grid, so that borders may be off by a voxel that nobody drew.
        coarse: whether a voxel of that grid is more than one and a half of the image's long, along any axis.
    """

    header: AnnotationHeader
    segments: tuple[DrawnSegment, ...]
    remarks: tuple[str, ...] = ()
    resampled: bool = False
    coarse: bool = False


class PlaneKind(StrEnum):
    """How a plane became known."""

    DRAWN = "drawn"
    """A reader drew on it, or changed a prediction on it."""
    ABSENT = "absent"
    """A reader stated that nothing is there: the slice next to the structure's first or last, or an erased slice."""
    CONFIRMED = "confirmed"
    """A reader accepted a prediction on it."""


@dataclass(frozen=True, slots=True, order=True)
class Plane:
    """One known plane of a volume.

    Attributes:
        axis: array axis that the plane is perpendicular to (0 slice, 1 row, 2 column).
        index: its index along that axis.
        kind: how it became known.
    """

    axis: int
    index: int
    kind: PlaneKind = PlaneKind.DRAWN

    @property
    def where(self) -> tuple[slice, slice, slice]:
        """What indexes the plane's voxels in a volume; the plane stays an axis of length 1."""
        whole = slice(None)
        one = slice(self.index, self.index + 1)
        return (one if self.axis == 0 else whole, one if self.axis == 1 else whole, one if self.axis == 2 else whole)


@dataclass(frozen=True, eq=False)
class SparseAnnotation:
    """Labels where they are known, and where that is.

    Attributes:
        labels_DHW: uint8, label number 1..L of the task, 0 where absent or unknown.
        known_LDHW: bool, for each label (first axis, label number - 1) the voxels at which its presence or absence is known.
        planes: the known planes, sorted, without repetition of (axis, index).
        sources: SOP Instance UIDs of the objects that it comes from, oldest first.
        readers: who drew it, without repetition; the station or the maker of the software where no name is given.

    Raises:
        ValueError: if shapes disagree, a label exceeds L, or a label stands where it is not known.
    """

    labels_DHW: LabelArray
    known_LDHW: BoolArray
    planes: tuple[Plane, ...] = ()
    sources: tuple[str, ...] = ()
    readers: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.labels_DHW.ndim != 3 or self.known_LDHW.shape[1:] != self.labels_DHW.shape:
            raise ValueError(f"labels {self.labels_DHW.shape} and known {self.known_LDHW.shape} do not belong together")
        if int(self.labels_DHW.max(initial=0)) > len(self.known_LDHW):
            raise ValueError("a label number exceeds the number of labels")
        for number, known_DHW in enumerate(self.known_LDHW, start=1):
            if np.any((self.labels_DHW == number) & ~known_DHW):
                raise ValueError(f"label {number} stands where it is not known")
        self.labels_DHW.setflags(write=False)
        self.known_LDHW.setflags(write=False)

    @property
    def label_count(self) -> int:
        """Number of labels L of the task."""
        return int(self.known_LDHW.shape[0])

    @property
    def known_DHW(self) -> BoolArray:
        """Voxels at which every label is known; where a label stands, all others are known to be absent."""
        return np.asarray(self.known_LDHW.all(axis=0) | (self.labels_DHW > 0))

    @property
    def unknown_labels(self) -> tuple[int, ...]:
        """Labels that are known on no plane: nobody looked for them, or drew strokes of them at most."""
        numbers = range(1, self.label_count + 1)
        return tuple(n for n in numbers if not any(self.known_LDHW[n - 1][plane.where].all() for plane in self.planes))

    @property
    def observed_DHW(self) -> BoolArray:
        """Voxels at which every label is known except ``unknown_labels``; the same as ``known_DHW`` where there are none."""
        unknown = self.unknown_labels
        seen = [n - 1 for n in range(1, self.label_count + 1) if n not in unknown]
        return np.asarray(self.known_LDHW[seen].all(axis=0) | (self.labels_DHW > 0)) if seen else self.known_DHW

    @property
    def strokes_DHW(self) -> BoolArray:
        """Voxels at which any label is known though they lie on no known plane."""
        strokes_DHW: BoolArray = np.asarray(self.known_LDHW.any(axis=0))
        for plane in self.planes:
            strokes_DHW[plane.where] = False
        return strokes_DHW

    def planes_of(self, *kinds: PlaneKind, axis: int = 0) -> tuple[int, ...]:
        """Indices, ascending, of the known planes of the given kinds (all kinds if none is given) along ``axis``."""
        wanted = kinds or tuple(PlaneKind)
        return tuple(sorted(p.index for p in self.planes if p.axis == axis and p.kind in wanted))
