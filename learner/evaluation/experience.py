"""What the cases of a run have shown of front and back end, task by task; goes on where a run was broken off."""

from __future__ import annotations

from collections import deque

from learner.app.experience import CASES
from learner.domain.pooling import Evidence
from learner.storage.files import evidence_arrays, evidence_from, pack, unpack

_KEY = "{task}\n{number}\n"


class RunExperience:
    """The evidence of the last cases of each task."""

    def __init__(self) -> None:
        self._cases: dict[str, deque[Evidence]] = {}

    def of(self, task: str) -> tuple[Evidence, ...]:
        """Evidence of the last cases of a task, the newest first."""
        return tuple(self._cases.get(task, ()))

    def add(self, task: str, evidence: Evidence | None) -> None:
        """Takes in what a case showed, if anything."""
        if evidence is not None:
            self._cases.setdefault(task, deque(maxlen=CASES)).appendleft(evidence)

    def to_bytes(self) -> bytes:
        """All of it as one file."""
        return pack(
            {
                _KEY.format(task=task, number=number) + name: array
                for task, cases in self._cases.items()
                for number, evidence in enumerate(cases)
                for name, array in evidence_arrays(evidence).items()
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> RunExperience:
        """What :meth:`to_bytes` wrote.

        Raises:
            CorruptFile: if it is not that.
        """
        result, arrays = cls(), unpack(content, "experience of a run")
        for prefix in sorted({name.rpartition("\n")[0] + "\n" for name in arrays}, key=_number, reverse=True):
            parts = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            result.add(prefix.split("\n")[0], evidence_from(parts))
        return result


def _number(prefix: str) -> int:
    return int(prefix.split("\n")[1])
