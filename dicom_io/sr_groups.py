"""What the measurement groups of an SR say of the regions in them (PS3.16 TID 1410, 1411 and 1419)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from dicom_io.codes import Code
from dicom_io.datasets import code_of, coded, first_item, items, text
from dicom_io.errors import UnsupportedObject
from dicom_io.limits import MAX_NESTING

_MEASUREMENT_GROUP = "125007"
_TRACKING_IDENTIFIER = "112039"
_FINDINGS = ("121071", "112038")
_FINDING_CATEGORIES = ("276214006", "G-C036")
_FINDING_SITES = ("363698007", "G-C0E3")
_SHORT_LABEL, _COMMENT = "125309", "121106"
_FREE_TEXT = "CORNERSTONEFREETEXT"
_TOOL_NAME = re.compile(r"\w+@\^?\d")
"""``Cornerstone3DTools@^0.1.0:PlanarFreehandROI``: which tool drew it, which tells nothing of what it is."""


@dataclass(frozen=True)
class MeasurementGroup:
    """What is said of the regions of one group.

    Attributes:
        tracking: Tracking Identifier.
        label: what the reader typed: a short label, a comment, or OHIF's free text.
        finding: Finding.
        category: Finding Category.
        site: Finding Site.
    """

    tracking: str = ""
    label: str = ""
    finding: Code | None = None
    category: Code | None = None
    site: Code | None = None

    @property
    def type(self) -> Code | None:
        """What was found; where that is not said, the site at which."""
        return self.finding or self.site

    @property
    def meaning(self) -> str:
        """The meaning of ``type``, or an empty string."""
        return self.type.meaning if self.type else ""

    @property
    def name(self) -> str:
        """What a person would call it: the label, else the tracking identifier unless it is a tool's, else the meaning."""
        tracking = "" if _TOOL_NAME.match(self.tracking) else self.tracking
        return self.label or tracking or self.meaning or self.tracking


def grouped_items(dataset: Dataset, name: str) -> Iterator[tuple[Dataset, MeasurementGroup]]:
    """All content items, parents before children, each with what the containers around it say.

    Raises:
        UnsupportedObject: the tree nests deeper than any report does.
    """
    pending = [(dataset, MeasurementGroup(), 0)]
    while pending:
        item, group, depth = pending.pop()
        if depth:
            yield item, group
        if depth > MAX_NESTING:
            raise UnsupportedObject(name, f"its content nests deeper than {MAX_NESTING} levels", "Save the report again.")
        children = items(item, "ContentSequence")
        if text(item, "ValueType") in {"CONTAINER", ""}:
            group = _described(children, group, labelled=_concept(item) == _MEASUREMENT_GROUP)
        pending.extend((child, group, depth + 1) for child in reversed(children))


def _described(children: Sequence[Dataset], group: MeasurementGroup, *, labelled: bool) -> MeasurementGroup:
    """``group`` with what the children of a container add to it; comments count within a measurement group alone."""
    for child in children:
        concept, value = _concept(child), coded(child, "ConceptCodeSequence")
        if concept == _TRACKING_IDENTIFIER:
            group = replace(group, tracking=text(child, "TextValue"))
        elif concept in _FINDINGS and value:
            group = replace(group, finding=value)
            if value.value == _FREE_TEXT and not group.label:
                group = replace(group, label=value.meaning)
        elif concept in _FINDING_CATEGORIES and value:
            group = replace(group, category=value)
        elif concept in _FINDING_SITES and value:
            group = replace(group, site=value)
        elif labelled and concept in {_SHORT_LABEL, _COMMENT} and (typed := text(child, "TextValue")):
            group = replace(group, label=typed)
    return group


def _concept(item: Dataset) -> str:
    concept = code_of(first_item(item, "ConceptNameCodeSequence"))
    return concept.value if concept else ""
