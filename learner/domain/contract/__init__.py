"""The annotation contract: what a drawing says about a case. ``docs/annotation-contract.md`` words the rules for readers.

A segmentation says where a structure *is*; which slices were looked at it leaves out. The rules here make that explicit. They
are pure functions of the object as it was read, the task and the earlier answers of the case:

* :mod:`~learner.domain.contract.labels`: which label a segment means;
* :mod:`~learner.domain.contract.words`: which segments draw, and which mark what is drawn;
* :mod:`~learner.domain.contract.known`: rules 1 and 5, what a drawing makes known;
* :mod:`~learner.domain.contract.edited`: rule 2, what a reader did to an answer of ours;
* :mod:`~learner.domain.contract.own_output`: rule 7, our own output under other names, and among what others drew;
* :mod:`~learner.domain.contract.marks`: rules 3 and 9, accepted and complete slices, strokes;
* :mod:`~learner.domain.contract.planes`: rule 4, drawings in other planes;
* :mod:`~learner.domain.contract.accumulation`: rules 6 and 8, several objects and several readers.
"""

from __future__ import annotations

from learner.domain.contract.accumulation import accumulate, adds_nothing, agreement, combine, with_label_count
from learner.domain.contract.edited import EarlierAnswer
from learner.domain.contract.interpretation import Interpretation, interpret
from learner.domain.contract.labels import LabelChange, label_change, match_label
from learner.domain.contract.own_output import is_copy
from learner.domain.contract.words import ContractNames

__all__ = [
    "ContractNames",
    "EarlierAnswer",
    "Interpretation",
    "LabelChange",
    "accumulate",
    "adds_nothing",
    "agreement",
    "combine",
    "interpret",
    "is_copy",
    "label_change",
    "match_label",
    "with_label_count",
]
