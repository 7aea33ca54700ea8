"""What an object adds to a case: the rules of the contract in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dicom_io.annotation import Drawing, DrawnSegment, PlaneKind, SparseAnnotation
from dicom_io.results import MACHINE_MADE, MANUFACTURER
from learner.domain.contract.accumulation import combine
from learner.domain.contract.edited import Compared, EarlierAnswer, compared, joined
from learner.domain.contract.known import known_on_planes
from learner.domain.contract.labels import reported
from learner.domain.contract.marks import Scope, accepted, declared_complete, stroked
from learner.domain.contract.own_output import as_named, parts_of, without_copies
from learner.domain.contract.words import ContractNames, Sorted, sort_segments
from learner.domain.task import Task


@dataclass(frozen=True, eq=False)
class Interpretation:
    """What a drawing adds to a case.

    Attributes:
        annotation: what became known, or None if the object repeats our results without change or says nothing of the task.
        edited: whether the object is one of our results, edited, or shows slices as a result has them.
        unknown_labels: names of segments that no label of the task matches, fit to be shown.
        remarks: what was understood in a way that the reader may not expect, one sentence each.
        share_changed: voxels that the reader changed over those of the answer that was edited, in [0, 1].
        accepted: whether the reader accepted predicted slices as they are.
        origin: the round whose answer was edited or saved again; 0 where there is none.
    """

    annotation: SparseAnnotation | None
    edited: bool
    unknown_labels: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    share_changed: float = 0.0
    accepted: bool = False
    origin: int = 0


def interpret(
    drawing: Drawing,
    task: Task,
    earlier: Sequence[EarlierAnswer],
    names: ContractNames = ContractNames(),  # noqa: B008 - frozen
    acquired: frozenset[int] | None = None,
) -> Interpretation:
    """What ``drawing`` says about a case of ``task``.

    Args:
        drawing: the object on the grid of the image.
        task: gives the labels.
        earlier: results of the case that the reader may have edited, of all rounds, newest last.
        names: the words by which readers mark segments and objects.
        acquired: slices of the volume that were acquired; the others are interpolated, and nobody draws on those. None for all.
    """
    said = sort_segments(drawing, task, names)
    if not drawing.segments:
        return Interpretation(None, edited=False, unknown_labels=())
    shape = drawing.segments[0].mask_DHW.shape
    answers = [answer for answer in earlier if answer.labels_DHW.shape == shape]
    said = _with_renamed(said, drawing, [answer for answer in answers if not answer.elsewhere])
    slices = [index for index in range(shape[0]) if acquired is None or index in acquired]
    ours = _shows_ours(said, drawing)
    found, strokes, left_out = _compared(said, drawing, answers, slices, ours=ours)
    drawn = joined(found)
    background = [segment for segment, label in said.strokes if label is None]
    newest = next((answer for answer in reversed(answers) if not answer.elsewhere), None)
    scope = Scope(len(task.labels), drawing.header, slices, newest)
    parts = (
        *accepted(said.reviewed, drawn, scope, shows_all=ours),
        declared_complete(said.complete, drawn, scope),
        *(() if ours else (_drawn(part, scope) for part in found)),
        stroked(strokes, background, drawn.numbers, scope),
    )
    annotation = combine([part for part in parts if part is not None])
    return Interpretation(
        annotation,
        edited=drawn.change.repeats or strokes.change.repeats or bool(left_out),
        unknown_labels=said.unknown,
        remarks=(*_remarks(said, drawn, drawing, task), *_not_drawn(left_out)),
        share_changed=0.0 if ours else max(part.change.share for part in (*found, strokes)),
        accepted=annotation is not None and any(plane.kind is PlaneKind.CONFIRMED for plane in annotation.planes),
        origin=_origin(drawn) or _origin(strokes),
    )


def _compared(
    said: Sorted, drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int], *, ours: bool
) -> tuple[list[Compared], Compared, list[DrawnSegment]]:
    """The drawn segments beside the answers, in parts; the strokes; and segments that are left out as our own output."""
    stroked_labels = [(segment, label) for segment, label in said.strokes if label is not None]
    named = as_named([*said.drawn, *stroked_labels], drawing, answers, slices)
    shown = without_copies(said.drawn, drawing, named)
    strokes = compared(stroked_labels, drawing, named, slices)
    if ours:
        return [compared(shown, drawing, named, slices)], strokes, []
    parts, left_out = parts_of(shown, drawing, named, slices)
    return parts, strokes, left_out


def _origin(shown: Compared) -> int:
    return shown.change.origin.round_id if shown.change.origin is not None else 0


def _shows_ours(said: Sorted, drawing: Drawing) -> bool:
    """Whether all that the object shows is what software like this made: such an object accepts, and draws nothing."""
    made = all(segment.algorithm_type in MACHINE_MADE for segment, _ in said.drawn)
    return drawing.header.manufacturer == MANUFACTURER and bool(said.drawn) and made


def _drawn(drawn: Compared, scope: Scope) -> SparseAnnotation | None:
    """What somebody drew or erased, by rules 1 and 2."""
    if not drawn.change.planes:
        return None
    return known_on_planes(drawn.labels_DHW, drawn.change.planes, drawn.numbers, scope.label_count, scope.header)


def _with_renamed(said: Sorted, drawing: Drawing, answers: Sequence[EarlierAnswer]) -> Sorted:
    """Where the reader renamed our segment to mark it as reviewed, it is the drawing too."""
    drawn = {label for _, label in said.drawn}
    every = range(len(drawing.segments[0].mask_DHW))
    renamed = [
        (segment, label)
        for segment, label in said.reviewed
        if label is not None and label not in drawn
        if compared([(segment, label)], drawing, answers, every).change.repeats
    ]
    return replace(said, drawn=(*said.drawn, *renamed))


def _not_drawn(left_out: Sequence[DrawnSegment]) -> Iterator[str]:
    if left_out:
        named = ", ".join(dict.fromkeys(map(reported, left_out)))
        yield f"Segments that this software made, by what they say, were left out: {named}."


def _remarks(said: Sorted, drawn: Compared, drawing: Drawing, task: Task) -> Iterator[str]:
    across = sorted(plane for plane in drawn.change.planes if plane[0] > 0)
    if across:
        named = ", ".join(f"{('row', 'column')[axis - 1]} {index + 1}" for axis, index in across)
        yield f"Read as drawn in planes across the slices: {named}."
    if across and said.complete:
        yield "What is drawn across the slices cannot be declared complete; the word was not heeded."
    if drawing.resampled and drawn.change.origin is not None:
        yield "It was saved on another grid: differences along borders that resampling explains do not count as drawn."
    if said.unknown:
        named = ", ".join(dict.fromkeys(said.unknown))
        yield f"Segments that no label of task {task.task_id} matches were left out: {named}."
