"""The gate in front of what answers: which cases are held back from training, and what versions are worth on them.

Versions are judged by *held* cases, which no version of the model was trained on. Nothing is lost by holding: when too many are
held, the oldest is released and learned from. While a task has none held, the drawing in hand judges the version that is about
to learn from it, *before* it does ("test, then train": Gama, Sebastiao and Rodrigues, Machine Learning 90, 2013).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dicom_io.annotation import Plane
from learner.app.serving import LoadNetwork
from learner.domain.case import PRUNED
from learner.domain.checkpoint import Checkpoint
from learner.domain.example import Example, Withdrawal
from learner.domain.gate import CaseScore, Verdict, decide, deficits_of, score_case
from learner.domain.planes import drawn_voxels, without_planes
from learner.errors import CorruptFile
from learner.ports import Lesson, Network, Store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What is held back from training.

    Attributes:
        cases: most cases of a task that are held back at a time; 0 for none.
        every: how many cases there are to each that is held back.
    """

    cases: int = 8
    every: int = 6


@dataclass(frozen=True, slots=True)
class Evidence:
    """A case to judge versions by.

    Attributes:
        round_id: where its example is kept.
        example: the case; what of its drawing a version was trained on is taken away.
        whole: whether that is nothing, so that its score with a version is always the same.
    """

    round_id: int
    example: Example
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """What is done with the example of a learn job.

    Attributes:
        lesson: what is to be recorded of its case.
        released: a case that is held no longer, to be learned from instead of this one, or None.
        held: the cases that are held from now on.
    """

    lesson: Lesson
    released: Lesson | None
    held: tuple[Lesson, ...]


class Gate:
    """Holds cases back and judges versions by them. It writes nothing.

    Args:
        store: lessons, examples and versions.
        load: makes a network of a version's state.
        settings: what is held back.
    """

    def __init__(self, store: Store, load: LoadNetwork, settings: GateSettings) -> None:
        self._store = store
        self._load = load
        self._settings = settings
        self._scores: dict[tuple[str, int], CaseScore] = {}

    def place(self, model_id: str, round_id: int, example: Example) -> Placement:
        """Whether an example is learned from or held back. The same state of the store gives the same decision."""
        case_id = self._store.records.find_round(round_id).case_id
        assert case_id is not None
        known = self._store.lessons.of_model(model_id)
        before = next((one for one in known if one.case_id == case_id), None)
        hold = before.held if before is not None else self._holds(example, known)
        lesson = Lesson(case_id, model_id, example.task_id, example.site, round_id, hold)
        held = tuple(lesson if one.case_id == case_id else one for one in known if one.held)
        if hold and before is None:
            held = (*held, lesson)
        released = _surplus([one for one in held if one.task_id == example.task_id], self._settings.cases)
        held = tuple(one for one in held if one is not released)
        if released is lesson:
            return Placement(replace(lesson, held=False), None, held)
        return Placement(lesson, released, held)

    def _holds(self, example: Example, known: Sequence[Lesson]) -> bool:
        """Whether a case that the model has not met is held back: never the first of a task.

        In a model that several tasks share, a version changes the answers of all of them, so each has a case held.
        """
        same = [one for one in known if one.task_id == example.task_id]
        if not self._settings.cases or not same or not drawn_voxels(example.annotation).any():
            return False
        digest = hashlib.sha256(example.key.encode()).digest()
        shared = len(same) < len(known) and not any(one.held for one in same)
        return shared or int.from_bytes(digest[:8], "big") % self._settings.every == 0

    def evidence(self, lessons: Iterable[Lesson]) -> list[Evidence]:
        """The cases that are held; one whose file is damaged is left out."""
        found = []
        for lesson in lessons:
            try:
                example = self._store.files.get_example(lesson.round_id)
            except CorruptFile as error:
                _log.error("held example lost, no version is judged by it", round=lesson.round_id, reason=str(error))
                continue
            if not isinstance(example, Withdrawal):
                found.append(Evidence(lesson.round_id, example))
        return found

    def unseen(self, lesson: Lesson, example: Example, cleared: Iterable[str]) -> list[Evidence]:
        """What of a drawing that is about to be learned from no version has seen.

        All of a case that the model has not met. Of a case that it knows, the planes that are new; as the model knows the
        images, that is enough for a task's first network, and not to compare two of them.
        """
        known = self._store.lessons.of_model(lesson.model_id)
        if not any(one.task_id == lesson.task_id for one in known) and not self._warm(lesson):
            return []  # the first case of a task: no version has learned what to find
        if not any(one.case_id == lesson.case_id for one in known):
            fresh = example.annotation
        elif example.task_id in cleared:
            return []
        else:
            try:
                fresh = without_planes(example.annotation, self._planes_before(lesson, example))
            except CorruptFile as error:
                _log.error("record of a round lost, its case judges no version", round=lesson.round_id, reason=str(error))
                return []
        if not drawn_voxels(fresh).any():
            return []
        return [Evidence(lesson.round_id, replace(example, annotation=fresh), whole=False)]

    def _warm(self, lesson: Lesson) -> bool:
        """Whether the model began from a network for this very task."""
        first = self._store.checkpoints.versions(lesson.model_id)[-1:]
        origins = [one.facts.get("origin") for one in first]
        return any(isinstance(origin, dict) and origin.get("task") == lesson.task_id for origin in origins)

    def _planes_before(self, lesson: Lesson, example: Example) -> tuple[Plane, ...]:
        """Planes of a case that were known before this round."""
        earlier = [r for r in self._store.records.rounds_of(lesson.case_id) if r.round_id < lesson.round_id]
        if not earlier or earlier[-1].facts.get(PRUNED):
            return ()
        annotation = self._store.files.get_record(earlier[-1].round_id).annotation
        if annotation is None or annotation.labels_DHW.shape != example.image_DHW.shape:
            return ()
        return annotation.planes

    def judge(
        self,
        sha256: str,
        network_of: Callable[[str], Network],
        serving: Checkpoint | None,
        evidence: Sequence[Evidence],
        between: Callable[[], None],
    ) -> Verdict:
        """Compares a candidate with the version that serves.

        Args:
            sha256: hash of the candidate's state.
            network_of: its network for a task.
            serving: the version that serves, or None.
            evidence: the cases to judge by.
            between: called before each prediction; may wait or raise.
        """
        ours = self._scored(sha256, network_of, evidence, between)
        if serving is None:
            return decide(ours, None, ())
        labels = {score.task_id: len(score.dice) for score in ours}

        def network(task_id: str) -> Network:
            return self._load(self._store.checkpoints.read(serving), task_id, labels[task_id])

        try:
            theirs = self._scored(serving.sha256, network, evidence, between)
        except CorruptFile:
            return decide(ours, None, ())
        return decide(ours, theirs, serving.tasks, deficits_of(serving.gate), pinned=serving.pinned)

    def compare(
        self, one: Checkpoint, other: Checkpoint, evidence: Sequence[Evidence], label_counts: Mapping[str, int]
    ) -> Verdict:
        """Two versions on the same cases, the second as the candidate against the first.

        Raises:
            CorruptFile: if one of them cannot be read.
        """
        tasks = tuple({case.example.task_id for case in evidence})
        labels = {case.example.task_id: case.example.label_count for case in evidence} | dict(label_counts)
        scores = []
        for checkpoint in (one, other):
            state = self._store.checkpoints.read(checkpoint)
            networks = {task_id: self._load(state, task_id, labels[task_id]) for task_id in tasks}
            scores.append(self._scored(checkpoint.sha256, networks.__getitem__, evidence, lambda: None))
        return decide(scores[1], scores[0], tasks)

    def _scored(
        self, sha256: str, network_of: Callable[[str], Network], evidence: Sequence[Evidence], between: Callable[[], None]
    ) -> list[CaseScore]:
        """Scores of a version, in the order of the evidence; those of whole cases are remembered while these are held."""
        networks: dict[str, Network] = {}
        scores = []
        for one in evidence:
            key, example = (sha256, one.round_id), one.example
            score = self._scores.get(key) if one.whole else None
            if score is None:
                between()
                if example.task_id not in networks:
                    networks[example.task_id] = network_of(example.task_id)
                soft_CDHW = networks[example.task_id].predict(example.image_DHW, example.spacing_DHW)
                score = score_case(example, soft_CDHW)
            if one.whole:
                self._scores[key] = score
            scores.append(score)
        return scores

    def forget_scores(self, versions: Iterable[Checkpoint], held: Iterable[Lesson]) -> None:
        """Forgets what versions were worth that are no more, or on cases that are held no longer."""
        hashes, rounds = {one.sha256 for one in versions}, {one.round_id for one in held}
        self._scores = {key: score for key, score in self._scores.items() if key[0] in hashes and key[1] in rounds}


def _surplus(held: Sequence[Lesson], most: int) -> Lesson | None:
    """The case to release where too many are held: the oldest of the site that has most."""
    if len(held) <= most:
        return None
    counts = Counter(one.site for one in held)
    largest = max(counts.values())
    return next(one for one in held if counts[one.site] == largest)
