"""What goes into the audit record of answers, reactions and learning. Written in the transaction of what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dicom_io.annotation import AnnotationHeader, PlaneKind, SparseAnnotation
from learner.domain.audit import Event
from learner.domain.case import Round
from learner.domain.checkpoint import LEARNED_CASES, Checkpoint
from learner.domain.contract import EarlierAnswer, Interpretation
from learner.domain.gate import Verdict
from learner.domain.reaction import Reaction, ReactionKind
from learner.ports import Audit, Store


def drawn_by(header: AnnotationHeader) -> dict[str, object]:
    """By whom and where an annotation object was made, as far as it says so; for the facts of its round."""
    station = {
        "manufacturer": header.manufacturer,
        "model": header.model,
        "station": header.station,
        "application_entity": header.application_entity,
    }
    return {"reader": header.reader, "station": {name: value for name, value in station.items() if value}}


def origin_of(round_: Round) -> dict[str, Any]:
    """The annotation object of a round, and who made it where; nothing before it was read, and where there is none."""
    uid, by = round_.facts.get("annotation_uid"), round_.facts.get("drawn_by")
    return {"annotation": uid, **(by if isinstance(by, dict) else {})} if uid else {}


def drawn_facts(drawing: SparseAnnotation | None, annotation: SparseAnnotation | None) -> dict[str, object]:
    """What an annotation added, by kind of plane, and the objects that all that is known comes from."""
    planes = drawing.planes if drawing is not None else ()
    said = {str(kind): [[p.axis, p.index] for p in planes if p.kind is kind] for kind in PlaneKind}
    return {
        "said": {kind: found for kind, found in said.items() if found},
        "made_from": list(annotation.sources) if annotation is not None else [],
    }


def reaction_of(found: Interpretation, answers: Sequence[EarlierAnswer], added: SparseAnnotation | None) -> Reaction | None:
    """What the reader of an object did with an answer of its case.

    Args:
        found: what the object says.
        answers: of the case, oldest first.
        added: what it adds to what was known, or None.
    """
    shown = [answer for answer in answers if answer.round_id and answer.labels_DHW.any()]
    if not shown:
        return None
    round_id = found.origin or shown[-1].round_id
    if added is None:
        return Reaction(round_id, ReactionKind.UNCHANGED) if found.edited else None
    drawn = [plane for plane in added.planes if plane.kind is not PlaneKind.CONFIRMED]
    if found.accepted and not drawn and not added.strokes_DHW.any():
        return Reaction(round_id, ReactionKind.CONFIRMED, slices=len(added.planes))
    if found.edited:
        return Reaction(round_id, ReactionKind.EDITED, found.share_changed, len(drawn))
    return Reaction(round_id, ReactionKind.DRAWN_ANEW, _apart(added, shown[-1]), len(drawn))


def _apart(drawn: SparseAnnotation, answer: EarlierAnswer) -> float:
    """Voxels on which a drawing and an answer differ over those that the answer shows, where the drawing knows all labels."""
    known_DHW = drawn.observed_DHW
    shown_N, drawn_N = answer.labels_DHW[known_DHW], drawn.labels_DHW[known_DHW]
    return min(1.0, int(np.count_nonzero(shown_N != drawn_N)) / max(1, int(np.count_nonzero(shown_N))))


def note_reaction(store: Store, reaction: Reaction, by: Round | None = None) -> None:
    """Records a reaction, and notes it in the facts of the round whose answer it was.

    Args:
        store: both in one transaction.
        reaction: what was done.
        by: the round of the object that tells it; None for a deletion in the archive.
    """
    told, reader = reaction.facts(), origin_of(by).get("reader", "") if by is not None else ""
    place = str(by.round_id) if by is not None else "archive"
    with store.transaction():
        store.records.note_facts(reaction.round_id, reactions={place: told})
        store.audit.record(Event.REACTION, round_id=reaction.round_id, where=place, reader=reader, **told)


def note_version(audit: Audit, event: Event, version: Checkpoint, job_id: int, job_round: int) -> None:
    """Records a version that a learn job made."""
    audit.record(
        event,
        round_id=version.round_id,
        version=version.name,
        model=version.model_id,
        parent=version.parent,
        steps=version.steps,
        sha256=version.sha256,
        job=job_id,
        job_round=job_round,
        seconds=version.facts.get("seconds"),
        cases=version.facts.get(LEARNED_CASES),
    )


def note_verdict(audit: Audit, version: Checkpoint, verdict: Verdict) -> None:
    """Records what the gate said of a version."""
    audit.record(
        Event.JUDGED,
        version=version.name,
        model=version.model_id,
        serve=verdict.serve,
        reason=verdict.reason,
        tasks=list(verdict.tasks),
        cases=verdict.cases,
        slices=verdict.slices,
    )
