"""Which label of a task a segment means: by code, then by the site's mapping, then by name; never a guess."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from dicom_io.annotation import DrawnSegment
from learner.domain.task import Label, Task

_NOTE = re.compile(r"\s*[(\[][^()\[\]]*[)\]]$")


def plain(text: str) -> str:
    """A text as names are compared: lower case, one blank for blanks and underscores."""
    return " ".join(text.replace("_", " ").split()).casefold()


def without_notes(text: str) -> str:
    """A plain text without the notes in brackets at its end, such as the number of a result."""
    while (shorter := _NOTE.sub("", text)) != text:
        text = shorter
    return text


def names_of(label: Label) -> tuple[str, ...]:
    """All names of a label, as they are compared."""
    return tuple(dict.fromkeys(plain(name) for name in (label.name, *label.names)))


def match_label(segment: DrawnSegment, task: Task) -> Label | None:
    """The label of ``task`` that a segment means, or None.

    The code of its type decides, then the codes that the site maps to a label, then names. Codes that say no more than "tissue"
    decide nothing. Where several labels share a code (left and right), the name decides between them.
    """
    named = _named(segment.label, task.labels)
    kind = segment.type
    if kind is not None and not kind.is_generic:
        for coded in (
            [label for label in task.labels if label.type.same_concept(kind)],
            [label for label in task.labels if any(code.same_concept(kind) for code in label.codes)],
        ):
            if coded:
                return coded[0] if len(coded) == 1 else _only([label for label in coded if label in named])
    return _only(named)


def reported(segment: DrawnSegment) -> str:
    """A segment's name for messages: printable, 64 characters at most."""
    name = "".join(c if c.isprintable() else " " for c in segment.label).strip()[:64].rstrip()
    return name or f"segment {segment.number}"


class LabelChange(StrEnum):
    """What became of the labels of a task since its cases were stored."""

    SAME = "same"
    """What is stored holds as it is; a label may have got another name."""
    GROWN = "grown"
    """Labels were added at the end: stored cases are unknown for them."""
    INCOMPATIBLE = "incompatible"
    """A number means another structure now, or none: what is stored must not be read with these labels."""


def label_change(old: Sequence[Label], new: Sequence[Label]) -> LabelChange:
    """What becomes of stored cases when the labels ``old`` of their task are replaced by ``new``.

    A label is the same when its name or its code is, and no other number has that name or that code now. Codes that several
    labels of a list share, and generic ones, say nothing.
    """
    if len(new) < len(old):
        return LabelChange.INCOMPATIBLE
    codes, later_codes = _decisive_codes(old), _decisive_codes(new)
    for index, before in enumerate(old):
        places = [
            place
            for place, after in enumerate(new)
            if plain(after.name) == plain(before.name) or (codes[index] and codes[index] == later_codes[place])
        ]
        if places != [index]:
            return LabelChange.INCOMPATIBLE
    return LabelChange.SAME if len(new) == len(old) else LabelChange.GROWN


def _named(text: str, labels: Sequence[Label]) -> list[Label]:
    """Labels of that name; without the note at its end only where the whole text is none."""
    for name in dict.fromkeys((plain(text), without_notes(plain(text)))):
        if name and (found := [label for label in labels if name in names_of(label)]):
            return found
    return []


def _only(labels: Sequence[Label]) -> Label | None:
    return labels[0] if len(labels) == 1 else None


def _decisive_codes(labels: Sequence[Label]) -> list[str]:
    """The code of each label, empty where it does not tell it from the others."""
    kinds = ["" if label.type.is_generic else f"{label.type.scheme} {label.type.value}" for label in labels]
    return [kind if kinds.count(kind) == 1 else "" for kind in kinds]
