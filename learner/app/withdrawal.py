"""Taking a drawing back (rule 8 of the contract): its object was deleted in the archive, or its reader says so to the node.

What a reader says leaves the object in the archive untouched, works with archives that delete nothing, and holds as long as the
node's store does; the object counts no more, however often it is sent again.
"""

from __future__ import annotations

import structlog

from learner.domain.audit import Event
from learner.domain.case import Round, RoundEvent, RoundState
from learner.domain.job import JobKind
from learner.domain.trigger import withdrawal_trigger, withdrawn_round
from learner.errors import ApprenticeError
from learner.ports import Store

_log = structlog.get_logger(__name__)


class NothingToWithdraw(ApprenticeError):
    """The round is no drawing in effect; says where it stands."""


class NotTheirDrawing(ApprenticeError):
    """The drawing is another reader's."""


def take_back(store: Store, round_: Round, reader: str | None = None) -> bool:
    """The drawing of a round counts no more, and a round is opened that answers what is left.

    What repeated the drawing, and so told nothing new, may tell something now.

    Args:
        store: where all of it happens in one transaction.
        round_: an answered round of an annotation.
        reader: who says so to the node, empty where nobody is signed in; None where the object was deleted in the archive.

    Returns:
        Whether it was not taken back before.
    """
    assert round_.case_id is not None
    with store.transaction():
        if store.records.find_round(round_.round_id).state is RoundState.FORGOTTEN:
            return False
        trigger = withdrawal_trigger(round_.round_id)
        opened = store.records.open_round(trigger, round_.series_instance_uid, case_id=round_.case_id)
        if opened is None:
            return False
        told = {} if reader is None else {"withdrawn_by": reader}
        store.records.note_facts(round_.round_id, withdrawn=True, **told)
        where = "archive" if reader is None else "node"
        store.audit.record(Event.WITHDRAWN, round_id=round_.round_id, by=reader or "", where=where)
        for same in store.records.unchanged_of(round_.case_id):
            store.records.apply(same.round_id, RoundEvent.KNOWLEDGE_LOST, reason="")
            store.jobs.reopen(JobKind.RESPOND, same.round_id)
        store.jobs.add(JobKind.RESPOND, opened, store.records.find_case(round_.case_id).study_instance_uid)
    _log.info("drawing is withdrawn", round=round_.round_id, opened=opened)
    return True


def is_in_effect(round_: Round) -> bool:
    """Whether what the round's annotation says counts: it was answered, and not withdrawn."""
    drawn = "annotation_uid" in round_.facts and withdrawn_round(round_.trigger_uid) is None
    return round_.state is RoundState.ANSWERED and drawn and not round_.facts.get("withdrawn")


def may_withdraw(round_: Round, reader: str) -> bool:
    """Whether a drawing is that reader's; where nobody is signed in, or the drawing names nobody, it is anybody's."""
    return not reader or not round_.reader or reader.casefold() == round_.reader.casefold()


def withdraw(store: Store, round_: Round, reader: str) -> None:
    """A reader takes a drawing, or an acceptance, back.

    Args:
        store: of the node.
        round_: of the drawing.
        reader: who says so; empty where nobody is signed in.

    Raises:
        NothingToWithdraw.
        NotTheirDrawing.
    """
    if not is_in_effect(round_):
        raise NothingToWithdraw(f"round {round_.round_id} is no drawing that counts")
    if not may_withdraw(round_, reader):
        raise NotTheirDrawing(f"the drawing of round {round_.round_id} is another reader's")
    if not take_back(store, round_, reader):
        raise NothingToWithdraw(f"the drawing of round {round_.round_id} was withdrawn before")
