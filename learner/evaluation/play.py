"""One case of a stream as a reader works on it: an answer before anything is drawn, rounds of drawing and answering."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from learner.app.answering import CaseAnswer, answer_case
from learner.domain.pooling import Evidence
from learner.evaluation.calibration import reliability
from learner.evaluation.cases import CaseLoader, scribbles_of
from learner.evaluation.effort import Contours, Effort
from learner.evaluation.folders import LabelledCase
from learner.evaluation.hands import STEADY, UNSTEADY, Hand
from learner.evaluation.metrics import dice, surface_dice
from learner.evaluation.modes import ReaderKind
from learner.evaluation.results import CaseResult, Dice, RoundResult
from learner.evaluation.settings import RunSettings, slices_of_rounds
from learner.evaluation.simulated_reader import LazyReader, ScribblingReader, SimulatedReader
from learner.evaluation.streams import StreamCase
from learner.ports import Network, Propagator


@dataclass(frozen=True, eq=False)
class Played:
    """A case after its last round.

    Attributes:
        result: for the record; what learning and memory took is not in it yet.
        reader: with all that is drawn.
        answered: the last answer, or None if nothing was drawn and there is no network.
    """

    result: CaseResult
    reader: SimulatedReader
    answered: CaseAnswer | None


def make_reader(case: LabelledCase, of: StreamCase, label_count: int, settings: RunSettings, seed: int) -> SimulatedReader:
    """The reader of a case, who has stated the ends if it is to."""
    kind, jitter = settings.reader.kind, settings.reader.jitter
    hand = Hand(jitter=jitter) if jitter else STEADY
    if kind is ReaderKind.JITTER:
        hand = Hand(max(UNSTEADY.jitter, jitter), UNSTEADY.patches, UNSTEADY.misses)
    reader: SimulatedReader
    if kind is ReaderKind.LAZY:
        reader = LazyReader(case.labels_DHW, label_count, hand, seed)
    elif kind is ReaderKind.SCRIBBLES:
        reader = ScribblingReader(case.labels_DHW, label_count, hand, seed, scribbles_of(of))
    else:
        reader = SimulatedReader(case.labels_DHW, label_count, hand, seed)
    if settings.reader.states_ends:
        reader.state_extents()
    return reader


def play_case(
    case: LabelledCase,
    of: StreamCase,
    label_count: int,
    network: Network | None,
    propagator: Propagator,
    settings: RunSettings,
    loader: CaseLoader,
    experience: Sequence[Evidence] = (),
) -> Played:
    """Plays all rounds of a case; nothing is learned.

    Args:
        case: image and truth.
        of: what the case is called, and where it comes from.
        label_count: labels L of its task.
        network: as it serves before the case, or None.
        propagator: the front end.
        settings: of the run.
        loader: knows the case's seed.
        experience: evidence of earlier cases of the task.
    """
    reader = make_reader(case, of, label_count, settings, loader.seed_of(of))
    contours = Contours(case.labels_DHW, label_count, case.spacing_DHW)
    answered, before = None, None
    if network is not None:
        answered = answer_case(case.image_DHW, case.spacing_DHW, None, label_count, propagator, network, experience=experience)
        before = dice(answered.answer.labels_DHW, case.labels_DHW, label_count)
    curve: list[RoundResult] = []
    for share in slices_of_rounds(of.task.slices, settings.rounds):
        guidance = answered.answer.guidance if answered is not None and settings.reader.follows_guidance else None
        chosen = reader.choose(share, guidance)
        reader.draw(chosen)
        annotation = reader.annotation()
        if not chosen or annotation is None:
            break
        began = time.perf_counter()
        previous = answered.back_end_CDHW if answered is not None else None
        answered = answer_case(
            case.image_DHW,
            case.spacing_DHW,
            annotation,
            label_count,
            propagator,
            network,
            previous,
            experience=experience,
        )
        seconds = time.perf_counter() - began
        curve.append(_round(case, label_count, answered, _effort(reader, contours, case), seconds))
        if settings.satisfied_at and float(np.mean(list(curve[-1].answer_dice.values()))) >= settings.satisfied_at:
            break
    return Played(_result(case, of, label_count, reader, answered, before, curve, contours), reader, answered)


def whole_case(case: LabelledCase, of: StreamCase, label_count: int, network: Network | None) -> CaseResult:
    """A case that is drawn whole: the answer is the drawing, and only the network before it is of interest."""
    reader = SimulatedReader(case.labels_DHW, label_count)
    before = None
    if network is not None:
        labels_DHW = network.predict(case.image_DHW, case.spacing_DHW).argmax(axis=0).astype(np.uint8)
        before = dice(labels_DHW, case.labels_DHW, label_count)
    perfect = dict.fromkeys(range(1, label_count + 1), 1.0)
    slices = len(reader.object_slices)
    whole = Contours(case.labels_DHW, label_count, case.spacing_DHW).whole
    result = CaseResult(of.name, slices, slices, 1.0, 0, 1, before, perfect, perfect, 0.0)
    return replace(result, task=of.task.name, site=of.site, stage=of.stage, whole=whole)


def _effort(reader: SimulatedReader, contours: Contours, case: LabelledCase) -> Effort:
    if isinstance(reader, ScribblingReader):
        pixel_mm = float(np.sqrt(case.spacing_DHW[1] * case.spacing_DHW[2]))
        voxels = int(np.count_nonzero(reader.stroke_labels_DHW))
        return contours.effort_of_strokes(voxels, pixel_mm, len(reader.drawn_slices), reader.extent_marks)
    return contours.effort(reader.drawn_slices, reader.extent_marks)


def _round(case: LabelledCase, label_count: int, answered: CaseAnswer, effort: Effort, seconds: float) -> RoundResult:
    answer, alone = answered.answer, answered.back_end_CDHW
    network = None
    if alone is not None:
        network = dice(alone.argmax(axis=0).astype(np.uint8), case.labels_DHW, label_count)
    estimates = enumerate(answer.estimated_dice or (), start=1)
    return RoundResult(
        effort=effort,
        proxy_dice=_proxy_dice(case, label_count, answered),
        network_dice=network,
        answer_dice=dice(answer.labels_DHW, case.labels_DHW, label_count),
        estimated_dice={number: value for number, value in estimates if value is not None},
        seconds=seconds,
    )


def _proxy_dice(case: LabelledCase, label_count: int, answered: CaseAnswer | None) -> Dice:
    labels_DHW = answered.answer.proxy_labels_DHW if answered is not None else None
    return dice(np.zeros_like(case.labels_DHW) if labels_DHW is None else labels_DHW, case.labels_DHW, label_count)


def _result(
    case: LabelledCase,
    of: StreamCase,
    label_count: int,
    reader: SimulatedReader,
    answered: CaseAnswer | None,
    before: Dice | None,
    curve: list[RoundResult],
    contours: Contours,
) -> CaseResult:
    answer_DHW = np.zeros_like(case.labels_DHW) if answered is None else answered.answer.labels_DHW
    annotation = reader.annotation()
    calibration = None
    if answered is not None:
        known_DHW = None if annotation is None else annotation.known_DHW
        calibration = reliability(answered.answer.soft_CDHW, case.labels_DHW, case.spacing_DHW, known_DHW)
    return CaseResult(
        case=of.name,
        drawn_slices=len(reader.drawn_slices),
        object_slices=len(reader.object_slices),
        contour_share=curve[-1].effort.contour_share if curve else 0.0,
        extent_marks=reader.extent_marks,
        rounds=len(curve),
        network_dice_before=before,
        proxy_dice=_proxy_dice(case, label_count, answered),
        answer_dice=dice(answer_DHW, case.labels_DHW, label_count),
        seconds_per_answer=float(np.mean([item.seconds for item in curve])) if curve else 0.0,
        task=of.task.name,
        site=of.site,
        stage=of.stage,
        curve=tuple(curve),
        whole=contours.whole,
        answer_nsd=surface_dice(answer_DHW, case.labels_DHW, label_count, case.spacing_DHW),
        calibration=calibration,
    )
