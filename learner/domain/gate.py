"""Which version of a model serves: no worse than the one that does, on what people drew and neither was trained on.

A comparison of two versions is paired by case: what makes a case hard cancels. A candidate is refused where the mean
difference of a label's Dice is below minus a tolerance, which is a fixed part, too small to matter to a reader, and the
standard error of the mean. The standard error is that of few cases: its variance is drawn towards a usual one, as in a
t-statistic with a prior (Tusher et al., PNAS 98, 2001; Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004), so that one case, or two
that agree by chance, decide nothing by themselves.

Many decisions of "not worse" could add up to much worse ("biocreep" of non-inferiority trials; D'Agostino et al., Statistics in
Medicine 22, 2003). So what was conceded stays on the books: a version inherits the deficit of the one that it replaced, and
losses are counted from the best version since.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.domain.contract import with_label_count
from learner.domain.example import Example
from learner.domain.planes import drawn_voxels
from learner.domain.proxy import merge_unknown

FLOOR = 0.3
"""Dice of at least one label from which on a task's first network is better than an empty answer: less costs more to mend."""
TOLERANCE = 0.01
"""Loss of Dice that no reader notices."""
SITE_SLICES = 6
"""Drawn slices from which on a site is judged by itself."""
_USUAL_DEVIATION, _USUAL_CASES = 0.05, 2
"""Standard deviation of paired differences of Dice between cases that is assumed at first, and how many cases it counts for."""
_CASES_FOR_BOOKS = 4
"""Cases from which on a conceded loss is kept on the books; with fewer it is mostly noise."""

Deficits = Mapping[tuple[str, int], float]


@dataclass(frozen=True, slots=True)
class CaseScore:
    """How well a version alone, without a proxy, foresaw what was drawn on one case.

    Attributes:
        task_id: task of the case.
        site: keyed hash of where it comes from; empty where that is not known.
        slices: drawn planes, of whatever axis.
        dice: one a label, over all that was drawn of the case; None where nobody looked for the label, or it is neither drawn
            nor foreseen.
    """

    task_id: str
    site: str
    slices: int
    dice: tuple[float | None, ...]


def foresight(drawn: SparseAnnotation, soft_CDHW: npt.NDArray[np.float32]) -> tuple[float | None, ...]:
    """Dice per label of a prediction where readers drew; accepted predictions and empty slices are nothing to be judged by.

    Args:
        drawn: what was drawn.
        soft_CDHW: float32 probabilities of a network that was not shown the drawing, of the same labels.

    Returns:
        One value a label; None where nobody looked for it, or it is neither drawn nor foreseen.
    """
    seen_DHW = drawn_voxels(drawn)
    truth_N = drawn.labels_DHW[seen_DHW]
    foreseen_N = merge_unknown(soft_CDHW, drawn.unknown_labels)[:, seen_DHW].argmax(axis=0)
    return tuple(_dice(truth_N == number, foreseen_N == number) for number in range(1, len(soft_CDHW)))


def score_case(example: Example, soft_CDHW: npt.NDArray[np.float32]) -> CaseScore:
    """Judges a prediction by what was drawn on a case.

    Args:
        example: a case.
        soft_CDHW: float32 probabilities of a network on its own, of as many labels as the case or more.
    """
    drawn = with_label_count(example.annotation, len(soft_CDHW) - 1)
    slices = sum(plane.kind is PlaneKind.DRAWN for plane in drawn.planes)
    return CaseScore(example.task_id, example.site, slices, foresight(drawn, soft_CDHW))


def _dice(truth_N: npt.NDArray[np.bool_], foreseen_N: npt.NDArray[np.bool_]) -> float | None:
    sizes = int(np.count_nonzero(truth_N)) + int(np.count_nonzero(foreseen_N))
    return 2.0 * int(np.count_nonzero(truth_N & foreseen_N)) / sizes if sizes else None


@dataclass(frozen=True, slots=True)
class Figure:
    """One label of one task, in all cases or in those of one site.

    Attributes:
        task_id: the task.
        site: keyed hash of the site, empty for all.
        label: its number.
        cases: on how many cases it was judged.
        slices: on how many drawn planes.
        candidate: mean Dice of the candidate.
        serving: mean Dice of the version that served; None where there was none for this task.
        tolerance: the loss that these cases cannot tell from none.
        deficit: what was conceded from the best version up to the one that served, 0 or less.
    """

    task_id: str
    site: str
    label: int
    cases: int
    slices: int
    candidate: float
    serving: float | None
    tolerance: float
    deficit: float

    @property
    def gain(self) -> float:
        """By how much the candidate is better than the version that served, 0 where there was none."""
        return 0.0 if self.serving is None else self.candidate - self.serving

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse than the version that served, beyond the tolerance."""
        on_the_books = self.deficit if self.cases >= _CASES_FOR_BOOKS else 0.0
        return self.serving is not None and self.gain + on_the_books < -self.tolerance

    @property
    def conceded(self) -> float:
        """The deficit that the candidate passes on if it serves."""
        return min(0.0, self.deficit + self.gain) if self.cases >= _CASES_FOR_BOOKS else self.deficit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided.

    Attributes:
        serve: whether the candidate serves.
        reason: why, in one line.
        tasks: the tasks that it serves.
        cases: number of cases it was judged on.
        slices: number of drawn planes.
        figures: all that was compared.
    """

    serve: bool
    reason: str
    tasks: tuple[str, ...]
    cases: int
    slices: int
    figures: tuple[Figure, ...]

    def facts(self) -> dict[str, object]:
        """As plain data, for the record of a version."""
        return asdict(self)


def deficits_of(facts: Mapping[str, object]) -> Deficits:
    """What was conceded up to a version, from the facts of its verdict."""
    figures = facts.get("figures")
    found = figures if isinstance(figures, list | tuple) else ()
    return {(one.task_id, one.label): one.conceded for one in (Figure(**figure) for figure in found) if not one.site}


def decide(
    candidate: Sequence[CaseScore],
    serving: Sequence[CaseScore] | None,
    cleared: Collection[str],
    deficits: Deficits | None = None,
    *,
    pinned: bool = False,
) -> Verdict:
    """Whether a candidate serves.

    It serves if for every task that is served no label is worse than that of the serving version, over all cases and at every
    site with enough slices, and every such task was judged at all. A task that is not served yet begins to be once one of its
    labels reaches ``FLOOR``; it holds back nothing else.

    Args:
        candidate: scores of the candidate.
        serving: scores of the serving version on the same cases in the same order, or None while none serves.
        cleared: tasks that are served.
        deficits: what was conceded up to the serving version.
        pinned: whether a person chose the serving version: then a candidate has to be better, by more than the standard error.
    """
    figures = tuple(_figures(candidate, serving, cleared, deficits or {}))
    overall = [figure for figure in figures if not figure.site]
    able = {figure.task_id for figure in overall if figure.task_id not in cleared and figure.candidate >= FLOOR}
    reason = _refusal(figures, set(cleared) - {score.task_id for score in candidate}, pinned=pinned)
    if not reason and not cleared and not able:
        reason = f"no label reaches Dice {FLOOR:.2f}{_best(overall)}"
    passed = "no worse than what served" if cleared else f"the first to reach Dice {FLOOR:.2f}{_best(overall)}"
    return Verdict(
        serve=not reason,
        reason=reason or passed,
        tasks=tuple(sorted(cleared if reason else {*cleared, *able})),
        cases=len(candidate),
        slices=sum(score.slices for score in candidate),
        figures=figures,
    )


def _refusal(figures: Sequence[Figure], unjudged: Collection[str], *, pinned: bool) -> str:
    """Why the candidate does not serve, or nothing."""
    if unjudged:
        return f"no drawn slice is at hand to judge it for {', '.join(sorted(unjudged))}"
    worst = min((figure for figure in figures if figure.worse), key=lambda figure: figure.gain, default=None)
    if worst is not None:
        where = f" at site {worst.site[:8]}" if worst.site else ""
        return f"worse: label {worst.label} of {worst.task_id}{where}, Dice {worst.candidate:.3f} against {worst.serving:.3f}"
    compared = [figure for figure in figures if figure.serving is not None and not figure.site]
    if pinned and sum(figure.gain for figure in compared) <= sum(figure.tolerance - TOLERANCE for figure in compared):
        return "not clearly better than the version that a person chose"
    return ""


def _best(overall: Sequence[Figure]) -> str:
    return f" (best {max(f.candidate for f in overall):.3f})" if overall else ""


def _figures(
    candidate: Sequence[CaseScore], serving: Sequence[CaseScore] | None, cleared: Collection[str], deficits: Deficits
) -> Iterable[Figure]:
    """Every label of every task, over all cases, then at each site that has enough of them and is not the only one."""
    pairs = list(zip(candidate, candidate if serving is None else serving, strict=True))
    for task_id in sorted({score.task_id for score in candidate}):
        of_task = [pair for pair in pairs if pair[0].task_id == task_id]
        compared = serving is not None and task_id in cleared
        yield from _labels(of_task, "", deficits, compared=compared)
        sites = sorted({score.site for score, _ in of_task})
        for site in sites if len(sites) > 1 else ():
            at_site = [pair for pair in of_task if pair[0].site == site]
            if site and sum(score.slices for score, _ in at_site) >= SITE_SLICES:
                yield from _labels(at_site, site, {}, compared=compared)


def _labels(pairs: Sequence[tuple[CaseScore, CaseScore]], site: str, deficits: Deficits, *, compared: bool) -> Iterable[Figure]:
    """The figures of each label that was drawn or foreseen in any of these cases."""
    task_id = pairs[0][0].task_id
    for label in range(1, max(len(one.dice) for one, _ in pairs) + 1):
        known = [(_of(one, label), _of(other, label), one.slices) for one, other in pairs]
        known = [(a, b, slices) for a, b, slices in known if a is not None or b is not None]
        if not known:
            continue
        ours, theirs = ([1.0 if dice is None else dice for dice in column] for column in list(zip(*known, strict=True))[:2])
        yield Figure(
            task_id=task_id,
            site=site,
            label=label,
            cases=len(known),
            slices=sum(slices for _, _, slices in known),
            candidate=float(np.mean(ours)),
            serving=float(np.mean(theirs)) if compared else None,
            tolerance=TOLERANCE + standard_error(np.subtract(ours, theirs)),
            deficit=deficits.get((task_id, label), 0.0),
        )


def _of(score: CaseScore, label: int) -> float | None:
    return score.dice[label - 1] if label <= len(score.dice) else None


def standard_error(differences: npt.NDArray[np.float64]) -> float:
    """Standard error of the mean of paired differences, of at least one; with few, that of a usual spread."""
    count = len(differences)
    squares = float(((differences - differences.mean()) ** 2).sum())
    variance = (_USUAL_CASES * _USUAL_DEVIATION**2 + squares) / (_USUAL_CASES + count - 1)
    return math.sqrt(variance / count)
