"""The table of round states, written a second time; every pair of state and event is tried."""

from __future__ import annotations

import itertools

import pytest

from learner.domain.case import IllegalTransition, RoundEvent, RoundState, next_state

S, E = RoundState, RoundEvent
EXPECTED = {
    S.QUEUED: {
        E.SOURCE_MISSING: S.WAITING,
        E.COMPUTED: S.COMPUTED,
        E.NOTHING_NEW: S.UNCHANGED,
        E.NOT_UNDERSTOOD: S.REFUSED,
        E.DELETED: S.WITHDRAWN,
    },
    S.WAITING: {E.SOURCE_ARRIVED: S.QUEUED, E.NOT_UNDERSTOOD: S.REFUSED, E.DELETED: S.WITHDRAWN},
    S.COMPUTED: {E.DELIVERED: S.ANSWERED, E.DELETED: S.WITHDRAWN},
    S.ANSWERED: {},
    S.UNCHANGED: {E.KNOWLEDGE_LOST: S.QUEUED},
    S.REFUSED: {E.RETRIED: S.QUEUED},
    S.WITHDRAWN: {E.RETRIED: S.QUEUED},
    S.FORGOTTEN: {},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(RoundState, RoundEvent)))
def test_every_pair_of_state_and_event(state: RoundState, event: RoundEvent) -> None:
    if event in EXPECTED[state]:
        assert next_state(state, event) is EXPECTED[state][event]
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            next_state(state, event)
