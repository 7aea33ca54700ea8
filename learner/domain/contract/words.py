"""The words of rules 3 and 9 in names and descriptions: which segments draw, which mark, and what they mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment
from learner.domain.contract.labels import match_label, names_of, plain, reported, without_notes
from learner.domain.task import Label, Task


@dataclass(frozen=True)
class ContractNames:
    """The words by which readers mark segments and objects; whole words, upper and lower case alike.

    Attributes:
        reviewed: the segment marks slices on which the reader accepts what is shown.
        complete: everything is drawn that there is.
        strokes: only the drawn voxels are known, not whole slices.
        background: among strokes, where no label is.
    """

    reviewed: tuple[str, ...] = ("reviewed", "confirmed")
    complete: tuple[str, ...] = ("complete",)
    strokes: tuple[str, ...] = ("strokes", "stroke", "scribbles", "scribble")
    background: tuple[str, ...] = ("background",)


Marked = tuple[DrawnSegment, Label | None]
"""A segment that marks, and the label that it marks; None for all labels."""


@dataclass(frozen=True, eq=False)
class Sorted:
    """The segments of an object by what they are.

    Attributes:
        drawn: drawings of labels, by rule 1.
        strokes: strokes, None for those of the background.
        reviewed: marks of reviewed slices.
        complete: numbers of the labels that are declared complete.
        unknown: segments that are none of these.
    """

    drawn: tuple[tuple[DrawnSegment, Label], ...]
    strokes: tuple[Marked, ...]
    reviewed: tuple[Marked, ...]
    complete: frozenset[int]
    unknown: tuple[str, ...]


def sort_segments(drawing: Drawing, task: Task, names: ContractNames) -> Sorted:
    """What each segment of an object is.

    A segment named as a label of the task is a drawing of that label, whatever words are in its name. Else a word marks the
    segment; what is left of the name, or the code, says the label, and a word alone means all labels. Words in a tracking
    identifier mark the segment that has it.
    """
    all_strokes = _declared(drawing.header, task, names.strokes)
    every = frozenset(label.number for label in task.labels)
    complete = every if _declared(drawing.header, task, names.complete) else frozenset()
    meanings = [_meaning(segment, task, names) for segment in drawing.segments]
    owned = {meaning.label for meaning in meanings if not meaning.mark or meaning.tracked}
    drawn, strokes, reviewed, unknown = [], [], [], []
    for segment, meaning in zip(drawing.segments, meanings, strict=True):
        label = meaning.label
        if meaning.mark == _STROKES or (all_strokes and not meaning.mark):
            if label is not None or without_notes(meaning.rest) in map(plain, names.background):
                strokes.append((segment, label))
            else:
                unknown.append(reported(segment))
            continue
        if label is None and (without_notes(meaning.rest) or not meaning.mark):
            unknown.append(reported(segment))
            continue
        if meaning.mark == _REVIEWED:
            reviewed.append((segment, label))
        if meaning.mark == _COMPLETE:
            complete |= every if label is None else {label.number}
        alone = meaning.mark == _COMPLETE and label not in owned
        if label is not None and (not meaning.mark or meaning.tracked or alone):
            drawn.append((segment, label))
    return Sorted(tuple(drawn), tuple(strokes), tuple(reviewed), complete, tuple(unknown))


_REVIEWED, _COMPLETE, _STROKES = "reviewed", "complete", "strokes"
_NEGATION = re.compile(r"\b(not|no|non|un|in|to|nearly|almost|partly)\b")
_EMPTY_BRACKETS = re.compile(r"[(\[]\s*[)\]]")


@dataclass(frozen=True)
class _Meaning:
    """What the names of a segment say.

    Attributes:
        mark: kind of the word in them, empty without one.
        label: the label meant, or None.
        rest: the name without the word, as names are compared.
        tracked: whether the word stands in the tracking identifier alone.
    """

    mark: str
    label: Label | None
    rest: str
    tracked: bool = False


def _meaning(segment: DrawnSegment, task: Task, names: ContractNames) -> _Meaning:
    kinds = ((_REVIEWED, names.reviewed), (_COMPLETE, names.complete), (_STROKES, names.strokes))
    own = [name for label in task.labels for name in names_of(label)]
    for mark, words in kinds:
        rest = _without_word(segment.label, own, words)
        if rest is not None:
            return _Meaning(mark, match_label(replace(segment, label=rest), task), rest)
    label = match_label(segment, task)
    if label is not None:
        for mark, words in kinds:
            if _without_word(segment.tracking_identifier, own, words) is not None:
                return _Meaning(mark, label, plain(segment.label), tracked=True)
    return _Meaning("", label, plain(segment.label))


def _declared(header: AnnotationHeader, task: Task, words: Sequence[str]) -> bool:
    """Whether one of the words is said of the whole object.

    Descriptions may be copied from elsewhere: a word that the task's own names contain counts only where it stands alone.
    """
    own = [plain(task.title), plain(task.task_id), *(name for label in task.labels for name in names_of(label))]
    usual = [word for word in words if not any(re.search(_whole(plain(word)), name) for name in own)]
    texts = (header.description, header.content_label, header.content_description)
    return any(
        plain(text) in map(plain, words) or _without_word(text, own, usual) is not None for text in dict.fromkeys(texts) if text
    )


def _without_word(text: str, names: Iterable[str], words: Sequence[str]) -> str | None:
    """The plain text without the first of ``words`` that stands in it outside of ``names``; None if there is none.

    A word after a negation ("not complete", "to be reviewed") does not count.
    """
    text = masked = plain(text)
    for name in sorted(names, key=len, reverse=True):
        masked = re.sub(_whole(name), lambda found: "\0" * len(found.group()), masked)
    for word in words:
        found = re.search(_whole(plain(word)), masked)
        if found and not _NEGATION.search(masked[: found.start()]):
            return _EMPTY_BRACKETS.sub("", text[: found.start()] + text[found.end() :]).strip(" -:,;/.")
    return None


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"
