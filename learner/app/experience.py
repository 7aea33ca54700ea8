"""What earlier cases of a task have shown of front and back end."""

from __future__ import annotations

import structlog

from learner.domain.pooling import Evidence
from learner.errors import CorruptFile
from learner.ports import Store

CASES = 20
"""Cases that count; older ones tell of a network that is no more."""
_log = structlog.get_logger(__name__)


def experience(store: Store, task_id: str, case_id: int) -> tuple[Evidence, ...]:
    """Evidence of the last cases of a task, the case itself left out; damaged records are left out with a warning."""
    found = []
    for round_id in store.records.latest_rounds(task_id, CASES, but_of=case_id):
        try:
            evidence = store.files.get_evidence(round_id)
        except CorruptFile as error:
            _log.warning("record of a round left out of the experience", round=round_id, reason=str(error))
            continue
        if evidence is not None:
            found.append(evidence)
    return tuple(found)
