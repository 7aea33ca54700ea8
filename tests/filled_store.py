"""A store in which a task has been at work for weeks, written through the store's own ports, for the page and its benchmark.

The images are generated and the numbers are made up; what they look like follows what a task does: the network foresees more
and more, readers draw less and less, a few annotations are not understood, and a learn job is given up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dicom_io.annotation import Plane, SparseAnnotation
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.thumbnails import Thumbnail, cut, window
from learner.domain.case import RoundEvent
from learner.domain.gate import Figure, Verdict
from learner.domain.job import JobKind
from learner.domain.task import Label, MatchingRule, Task
from learner.ports import CaseRecord, Lesson
from learner.storage.store import LocalStore

SPACING = (3.0, 0.7, 0.7)
LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (230, 120, 60))
TASK = Task("prostate", "Prostate, whole gland", (LABEL,), MatchingRule(("MR",)))
SITES = ("a3c19e0f5512", "9b40d7716e2a")
_DAY_S = 86400.0


@dataclass
class SetClock:
    """Time as it is set."""

    at: float

    def now(self) -> float:
        return self.at


class FilledStore:
    """Writes cases, one after the other.

    Args:
        store: with ``clock`` as its clock.
        clock: moved on with each round.
        seed: of everything that is made up.

    Attributes:
        committed_at: POSIX time at which the latest round was committed.
    """

    def __init__(self, store: LocalStore, clock: SetClock, seed: int = 1) -> None:
        self.store, self.clock = store, clock
        self._rng = np.random.default_rng(seed)
        self._volumes = [_volume(np.random.default_rng(seed + number)) for number in range(6)]
        self._cases = 0
        self.committed_at = 0.0

    def play(self, cases: int, rounds: int) -> None:
        """So many cases with so many rounds in all, a version each second case."""
        each = np.full(cases, rounds // cases)
        each[: rounds - int(each.sum())] += 1
        for count in each:
            self.case(int(count))

    def case(self, rounds: int) -> int:
        """A case with answered rounds; returns its number."""
        number = self._cases = self._cases + 1
        case = self.store.records.case(TASK.task_id, f"2.25.{1000 + number}", f"2.25.{900000 + number}").case_id
        for place in range(1, rounds + 1):
            self.round(case, place, rounds)
        self.clock.at += self._rng.uniform(0.1, 0.5) * _DAY_S
        if number % 2 == 0 or number < 4:
            self._version(number)
        site = SITES[number % 2]
        self.store.lessons.put(Lesson(case, TASK.task_id, TASK.task_id, site, self._last, held=number % 6 == 5))
        return case

    def round(self, case: int, place: int, of: int) -> int:
        """An answered round of a case; returns its number."""
        records, round_id = self.store.records, self.opened(case)
        skill = self._skill()
        drawn = max(1, round(place / of * (11 - 6 * skill + self._rng.normal(0, 1))))
        image_DHW, labels_DHW, residual_DHW = self._volumes[self._cases % len(self._volumes)]
        guidance = [
            (int(index), 0.9 - 0.2 * rank) for rank, index in enumerate(self._rng.choice(np.arange(4, 24), 3, replace=False))
        ]
        pictures = _pictures(image_DHW, labels_DHW, residual_DHW, [index for index, _ in guidance])
        self.store.files.put_record(round_id, _record(labels_DHW, pictures))
        quality = min(0.97, 0.86 + 0.1 * place / of + self._rng.normal(0, 0.01))
        facts = {
            "annotation_uid": f"2.25.5{round_id}",
            "slices": 28,
            "structure_slices": int(labels_DHW.any(axis=(1, 2)).sum()),
            "drawn_slices": sorted(int(i) for i in self._rng.choice(28, drawn, replace=False)),
            "planes": [[0, index, "drawn"] for index in range(drawn)],
            "volumes_ml": {"Prostate": round(float(labels_DHW.sum()) * 3 * 0.49 / 1000, 1)},
            "estimated_dice": [round(quality, 3)],
            "foresight": [round(float(np.clip(skill + self._rng.normal(0, 0.04), 0, 1)), 3)] if self._cases > 1 else None,
            "enough": place == of and of > 3,
            "guidance": [
                {
                    "axis": 0,
                    "index": index,
                    "sop_instance_uid": f"1.2.3.{index}",
                    "frame_number": 1,
                    "score": round(score, 2),
                    "reason": why,
                }
                for (index, score), why in zip(
                    guidance, ("both ends disagree", "far from what is drawn", "the structure may end here"), strict=True
                )
            ],
            "pictures": [{"kind": one.kind, "axis": one.axis, "index": one.index} for one in pictures],
            "remarks": [],
            "site": SITES[self._cases % 2],
        }
        version = self.store.checkpoints.serving(TASK.task_id)
        with self.store.transaction():
            records.note_facts(round_id, **facts)
            reader = ("Reader A", "Reader B")[self._cases % 2]
            name = version.name if version is not None else ""
            records.apply(round_id, RoundEvent.COMPUTED, case_id=case, number=place, checkpoint=name, reader=reader)
            self.clock.at += float(self._rng.uniform(2, 6))
            records.apply(round_id, RoundEvent.DELIVERED, answered_at=self.clock.at)
        self.committed_at = time.time()
        self._last = round_id
        self.clock.at += float(self._rng.uniform(60, 300))
        return round_id

    def opened(self, case: int | None = None) -> int:
        """A trigger that was taken in, no more."""
        name = f"object-{case}-{self._rng.integers(2**60)}"
        round_id = self.store.records.open_round(name, "2.25.7", case_id=case)
        assert round_id is not None
        return round_id

    def refused(self, reason: str) -> int:
        """An annotation that is not understood, its job done."""
        round_id = self.opened()
        self.store.jobs.add(JobKind.RESPOND, round_id)
        job = self.store.jobs.claim(JobKind.RESPOND, 60.0)
        assert job is not None
        self.store.records.apply(round_id, RoundEvent.NOT_UNDERSTOOD, reason=reason)
        self.store.jobs.finish(job)
        return round_id

    def waiting(self, reason: str) -> int:
        """An annotation whose images are not there."""
        round_id = self.opened()
        self.store.jobs.add(JobKind.RESPOND, round_id)
        job = self.store.jobs.claim(JobKind.RESPOND, 60.0)
        assert job is not None
        self.store.records.await_source(round_id, "2.25.99", reason)
        self.store.jobs.block(job, reason)
        return round_id

    def parked(self, round_id: int, reason: str) -> None:
        """The learn job of a round is given up."""
        self.store.jobs.add(JobKind.LEARN, round_id, TASK.task_id)
        job = self.store.jobs.claim(JobKind.LEARN, 60.0)
        assert job is not None
        self.store.jobs.park(job, reason)

    def _skill(self) -> float:
        return float(0.93 - 0.45 * np.exp(-self._cases / 25))

    def _version(self, number: int) -> None:
        skill, serving = self._skill(), self.store.checkpoints.serving(TASK.task_id)
        before = None if serving is None else skill - 0.004
        better = number % 8 != 6
        figure = Figure(TASK.task_id, "", 1, 6, 31, skill if better else skill - 0.05, before, 0.01, 0.0)
        worse = f"worse: label 1 of {TASK.task_id}, Dice {skill - 0.05:.3f} against {skill:.3f}"
        verdict = Verdict(better, "no worse than what served" if better else worse, (TASK.task_id,), 6, 31, (figure,))
        half = min(number, 160) / 2
        memory = [
            {"task_id": TASK.task_id, "site": site, "cases": int(half + odd), "size": int((half + odd) * 4.1e6), "readers": 2}
            for odd, site in enumerate(sorted(SITES))
        ]
        facts = {
            "steps": 20,
            "loss_first": 0.4,
            "loss_last": 0.2,
            "replayed": 40,
            "remembered": min(number, 160),
            "memory": memory,
        }
        added = self.store.checkpoints.add(
            TASK.task_id, f"weights {number}".encode(), round_id=self._last, steps=20 * number, facts=facts
        )
        self.store.checkpoints.judge(added, verdict)
        self.store.checkpoints.prune(TASK.task_id)


def _volume(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, labels and residual of a made-up pelvis."""
    z, y, x = np.mgrid[0:28, 0:160, 0:160].astype(np.float64)
    body_DHW = np.hypot((y - 80) / 62, (x - 80) / 74) < 1
    away = np.sqrt(((z - 14) / 9) ** 2 + ((y - 88) / 26) ** 2 + ((x - 80 - rng.normal(0, 3)) / 32) ** 2)
    labels_DHW = (away < 1).astype(np.uint8)
    bones = (np.hypot((y - 84) / 14, (x - 34) / 12) < 1) | (np.hypot((y - 84) / 14, (x - 126) / 12) < 1)
    texture = ndimage.gaussian_filter(rng.normal(size=z.shape), (0.4, 2, 2)) * 340 + rng.normal(size=z.shape) * 22
    image_DHW = body_DHW * (360 + 150 * (away < 1) + 80 * (away < 0.55) - 220 * bones) + texture * body_DHW
    image_DHW += rng.normal(size=z.shape) * 8
    patches = ndimage.gaussian_filter(rng.normal(size=z.shape), (1, 5, 5))
    residual_DHW = np.clip(patches / patches.max() * 1.6, 0, 1) * (np.abs(away - 1) < 0.16)
    return image_DHW.astype(np.float32), labels_DHW, residual_DHW.astype(np.float32)


def _pictures(
    image_DHW: np.ndarray, labels_DHW: np.ndarray, residual_DHW: np.ndarray, wanted: list[int]
) -> tuple[Thumbnail, ...]:
    places = [("answer", int(labels_DHW.sum(axis=(1, 2)).argmax())), ("residual", int(residual_DHW.sum(axis=(1, 2)).argmax()))]
    places += [("guidance", index) for index in wanted]
    shown = window(image_DHW)
    return tuple(cut(kind, 0, index, image_DHW, SPACING, labels_DHW, residual_DHW, shown) for kind, index in places)


def _record(labels_DHW: np.ndarray, pictures: tuple[Thumbnail, ...]) -> CaseRecord:
    known_LDHW = np.zeros((1, *labels_DHW.shape), dtype=np.bool_)
    known_LDHW[0, 14] = True
    drawing = SparseAnnotation(labels_DHW * known_LDHW[0], known_LDHW, (Plane(0, 14),))
    return CaseRecord(drawing, drawing, labels_DHW, None, pictures=pictures)
