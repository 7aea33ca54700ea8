"""Several volumes in one series: told apart by what distinguishes them, or refused.

Scanners file echoes, diffusion weightings, time points, magnitude and phase, or the images of a Dixon acquisition as one
series. Slices then lie at the same positions. An attribute explains that when it splits the series into as many volumes as
there are slices at a position: one that only differs from slice to slice (a content time, say) would make more, and explains
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from dicom_io.datasets import UNREADABLE, integer, items, numbers, text
from dicom_io.errors import SeriesNotAVolume
from dicom_io.series_frames import ORIENTATION_TOLERANCE, Frame, refuse_mixture
from dicom_io.series_grid import place_indices

B_VALUE = "DiffusionBValue"
_PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)
"""Where scanners wrote the b-value before DICOM had an attribute for it: group, private creator, element."""
_GE_OFFSET = 1_000_000_000
"""GE adds this to b-values of some sequences."""
CONTRASTS = (
    B_VALUE,
    "DiffusionDirectionality",
    "DiffusionGradientOrientation",
    "EchoTime",
    "EffectiveEchoTime",
    "InversionTime",
    "InversionTimes",
    "FlipAngle",
    "RepetitionTime",
    "ComplexImageComponent",
    "ImageType",
    "FrameType",
    "ContrastBolusAgent",
    "KVP",
    "ConvolutionKernel",
    "CorrectedImage",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TemporalPositionTimeOffset",
    "FrameReferenceTime",
    "EchoNumbers",
    "SequenceName",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
)
"""Attributes that tell volumes apart by their value: what made the contrast first, then time points, then mere counters."""
TIMES = (
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "AcquisitionDateTime",
    "FrameAcquisitionDateTime",
    "FrameReferenceDateTime",
    "AcquisitionTime",
    "ContentTime",
)
"""Attributes that tell volumes apart by their value, or else by their order at each position: every slice of a heart that beats
has its own trigger times, and the third of them is of the third phase."""
_SHOWN = 8
"""How many values a remark lists."""


@dataclass(frozen=True)
class Part:
    """One of the volumes in a series.

    Attributes:
        values: keyword and value of each attribute that distinguishes it; none where the series is one volume.
        images: SOP Instance UID and frame number (0 in single-frame images) of its slices.
    """

    values: tuple[tuple[str, str], ...]
    images: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """Such as ``EchoTime 30``; empty where the series is one volume."""
        return ", ".join(f"{keyword} {value or 'absent'}" for keyword, value in self.values)


@dataclass(frozen=True, eq=False)
class FrameGroup:
    """Frames that agree in the attributes by which a series is split; ``order`` sorts the groups."""

    frames: tuple[Frame, ...]
    values: tuple[tuple[str, str], ...] = ()
    order: tuple[tuple[int, float, str], ...] = ()

    @property
    def places(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The number of the position of each frame."""
        along = np.stack([frame.position for frame in self.frames]) @ self.frames[0].normal
        return place_indices(along)

    @property
    def multiplicity(self) -> int:
        """Slices at the position that has most."""
        return int(np.bincount(self.places).max())

    @property
    def part(self) -> Part:
        """What is told of it outside."""
        return Part(self.values, tuple((frame.instance.uid, frame.number) for frame in self.frames))


def split(name: str, frames: Sequence[Frame]) -> list[FrameGroup]:
    """The volumes of a series, by ascending value of what distinguishes them.

    Raises:
        SeriesNotAVolume: slices that belong to no common volume, or share positions without a reason that the headers give.
    """
    groups = []
    for stack in _stacks(frames):
        refuse_mixture(name, list(stack.frames))
        groups.extend(_volumes(name, stack))
    return groups


def choose(groups: Sequence[FrameGroup], wanted: Collection[tuple[str, int]]) -> tuple[FrameGroup, tuple[str, ...]]:
    """The group that holds most of the images in ``wanted``, else the first, and the remark on the choice."""
    if len(groups) == 1:
        return groups[0], ()
    asked = set(wanted)

    def held(group: FrameGroup) -> int:
        return sum((uid, number) in asked or (uid, 0) in asked for uid, number in group.part.images)

    chosen = max(groups, key=held)
    why = "the annotation refers to" if held(chosen) else "comes first"
    keywords = " and ".join(keyword for keyword, _ in chosen.values)
    names = [group.part.name for group in groups[:_SHOWN]] + ["..."] * (len(groups) > _SHOWN)
    remark = (
        f"The series holds {len(groups)} volumes that differ in {keywords} ({'; '.join(names)}); the one that {why} was taken: "
        f"{chosen.part.name}."
    )
    return chosen, (remark,)


def _stacks(frames: Sequence[Frame]) -> list[FrameGroup]:
    """Frames by orientation, or by Stack ID where the scanner says so; whole where a stack would be a single slice."""
    whole = FrameGroup(tuple(frames))
    orientations = np.stack([frame.orientation for frame in frames])
    if np.ptp(orientations, axis=0).max() > ORIENTATION_TOLERANCE:
        stacks = _refined([whole], "StackID", by_order=False)
        if any(_turned(stack) for stack in stacks):
            stacks = _refined([whole], "ImageOrientationPatient", by_order=False)
        return [whole] if any(_turned(stack) or _is_flat(stack) for stack in stacks) else stacks
    if not frames[0].groups:  # the same attribute of single-frame images numbers slabs of one volume
        return [whole]
    stacks = _refined([whole], "StackID", by_order=False)
    return [whole] if len(stacks) == 1 or any(_is_flat(stack) for stack in stacks) else stacks


def _turned(group: FrameGroup) -> bool:
    orientations = np.stack([frame.orientation for frame in group.frames])
    return bool(np.ptp(orientations, axis=0).max() > ORIENTATION_TOLERANCE)


def _is_flat(group: FrameGroup) -> bool:
    return int(group.places.max()) == 0


def _volumes(name: str, stack: FrameGroup) -> list[FrameGroup]:
    """A stack split until no position repeats."""
    most, places = stack.multiplicity, int(stack.places.max()) + 1
    if most == 1:
        return [stack]
    if places == 1:
        problem = f"its {most} images show one slice again and again (at different times or settings)"
        raise SeriesNotAVolume(name, problem, "A volume needs at least two slices; choose another series.")
    groups = [stack]
    for keyword in (*CONTRASTS, *TIMES):
        groups = _if_it_explains(groups, keyword, most)
    if _unexplained(groups):
        alone = (_if_it_explains([stack], keyword, most) for keyword in (*CONTRASTS, *TIMES, *_dimensions(stack)))
        groups = next((found for found in alone if not _unexplained(found)), groups)
    if _unexplained(groups):
        problem = (
            f"{len(stack.frames)} slices lie at {places} positions: it holds several volumes, and no attribute (b-value, echo "
            f"time, image type, time point, acquisition ...) tells them apart"
        )
        raise SeriesNotAVolume(name, problem, "Split it into one series for each volume, or send the scanner's own images.")
    return sorted(groups, key=lambda group: group.order)


def _unexplained(groups: Sequence[FrameGroup]) -> bool:
    return any(group.multiplicity > 1 for group in groups)


def _if_it_explains(groups: list[FrameGroup], keyword: str, most: int) -> list[FrameGroup]:
    """The groups split further by an attribute where that explains repeated positions; else as they are.

    Groups that share all their positions add up to ``most`` slices at a position, however far they are split.
    """
    if not _unexplained(groups):
        return groups
    for by_order in (False, True) if keyword in TIMES else (False,):
        finer = _refined(groups, keyword, by_order)
        if len(finer) > len(groups) and sum(group.multiplicity for group in finer) == most:
            return finer
    return groups


def _refined(groups: Sequence[FrameGroup], keyword: str, by_order: bool) -> list[FrameGroup]:
    finer = []
    for group in groups:
        labels = _by_order(group, keyword) if by_order else [_value(frame, keyword) for frame in group.frames]
        by_label: dict[str, list[Frame]] = {}
        for frame, label in zip(group.frames, labels, strict=True):
            by_label.setdefault(label, []).append(frame)
        for label in sorted(by_label, key=_sort_key):
            values, order = (*group.values, (keyword, label)), (*group.order, _sort_key(label))
            finer.append(FrameGroup(tuple(by_label[label]), values, order))
    return finer


def _by_order(group: FrameGroup, keyword: str) -> list[str]:
    """``3 of 25`` for a frame that is the third at its position; one label for all where times are equal or missing."""
    places = group.places
    count = group.multiplicity
    keys = [_sort_key(_value(frame, keyword)) for frame in group.frames]
    labels = [""] * len(keys)
    for place in range(int(places.max()) + 1):
        here = sorted(np.flatnonzero(places == place), key=lambda index: keys[index])
        if len(here) != count or len({keys[index] for index in here}) != count:
            return [""] * len(keys)
        for rank, index in enumerate(here, start=1):
            labels[index] = f"{rank} of {count}"
    return labels


def _value(frame: Frame, keyword: str) -> str:
    """An attribute's value as text; numbers with six digits, so that rounding makes no difference."""
    if keyword == B_VALUE:
        return _b_value(frame)
    if keyword.startswith(_DIMENSION):
        indices = numbers(frame.holder("DimensionIndexValues"), "DimensionIndexValues", _dimension_count(frame))
        return "" if indices is None else f"{indices[int(keyword.removeprefix(_DIMENSION).split()[0]) - 1]:g}"
    if keyword == "ImageOrientationPatient":
        return "/".join(f"{cosine:.2f}" for cosine in frame.orientation)
    value = frame.text(keyword)
    if not value or dictionary_VR(keyword) in {"TM", "DT"}:
        return value
    try:
        return "/".join(f"{float(part):.6g}" for part in value.split("\\"))
    except ValueError:
        return value.replace("\\", "/")


def _sort_key(label: str) -> tuple[int, float, str]:
    """Absent first, then numbers (and those that count, ``2 of 25``), then texts."""
    if not label:
        return 0, 0.0, ""
    try:
        return 1, float(label.split(" of ", maxsplit=1)[0]), label
    except ValueError:
        return 2, 0.0, label


def _b_value(frame: Frame) -> str:
    """The b-value in s/mm2: DICOM's attribute (PS3.3 section C.8.13.5.9), else that of the vendor."""
    if found := frame.text(B_VALUE):
        values = numbers(frame.holder(B_VALUE), B_VALUE, 1)
        return found if values is None else f"{values[0]:.6g}"
    for group, creator, element in _PRIVATE_B_VALUES:
        try:
            value = frame.instance.header.private_block(group, creator)[element].value
            if isinstance(value, bytes):
                value = value.decode("ascii").split("\\")
            first = float(str(value[0] if not isinstance(value, str | int | float) else value))
        except UNREADABLE:
            continue
        return f"{first % _GE_OFFSET:.6g}"
    return ""


_DIMENSION = "dimension "


def _dimension_count(frame: Frame) -> int:
    return len(items(frame.instance.header, "DimensionIndexSequence"))


def _dimensions(stack: FrameGroup) -> list[str]:
    """The dimensions that a multi-frame image itself declares (PS3.3 section C.7.6.17), such as ``dimension 3 (EchoTime)``."""
    if not stack.frames[0].groups:
        return []
    return [
        f"{_DIMENSION}{number} ({_pointer(item)})"
        for number, item in enumerate(items(stack.frames[0].instance.header, "DimensionIndexSequence"), start=1)
    ]


def _pointer(item: Dataset) -> str:
    label = text(item, "DimensionDescriptionLabel")
    return label or keyword_for_tag(integer(item, "DimensionIndexPointer")) or text(item, "DimensionIndexPointer")
