"""Which answers need more and more correction: series of measurements by task and site, each with a control chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from learner.domain.case import Round
from learner.domain.drift import Drift, drift
from learner.ports import Records

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DriftOfSeries:
    """The chart of one series of measurements.

    Attributes:
        task_id: the task.
        site: keyed hash of the site; empty for all together.
        measure: ``foresight`` (Dice of the network alone on what was first drawn of a case), ``estimated_dice`` (of the
            answer to that), or ``unchanged`` (share of an edited prediction that was left as it was).
        drift: where the chart stands.
    """

    task_id: str
    site: str
    measure: str
    drift: Drift


def drift_of_task(records: Records, task_id: str) -> list[DriftOfSeries]:
    """The charts of a task: of each measure over all sites, and of each site where there are several."""
    return _charts(task_id, records.measured(task_id))


def warn_of_drift(records: Records, round_: Round) -> None:
    """Warns of each series in which an answered round raised the alarm: once, as it begins."""
    if round_.case_id is None:
        return
    task_id = records.find_case(round_.case_id).task_id
    measured = records.measured(task_id)
    if not measured or measured[-1].round_id != round_.round_id:
        return
    before = {(one.site, one.measure) for one in _charts(task_id, measured[:-1]) if one.drift.alarm}
    for one in _charts(task_id, measured):
        if one.drift.alarm and (one.site, one.measure) not in before:
            _log.warning(
                "answers need more correction than they used to",
                task=task_id,
                site=one.site[:8],
                measure=one.measure,
                level=round(one.drift.level, 2),
            )


def _charts(task_id: str, rounds: Sequence[Round]) -> list[DriftOfSeries]:
    sites = sorted({str(r.facts.get("site") or "") for r in rounds} - {""})
    found = []
    for site in ("", *(sites if len(sites) > 1 else ())):
        series = _series([r for r in rounds if not site or r.facts.get("site") == site])
        found += [DriftOfSeries(task_id, site, measure, drift(values)) for measure, values in series.items() if values]
    return found


def _series(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """Values of each measure, oldest first, higher is better. Of a case only the first drawing tells how it would have been."""
    first = [r for r in rounds if r.number == 1]
    edited = [r.facts["share_changed"] for r in rounds if r.facts.get("edited")]
    return {
        "foresight": list(_means(first, "foresight")),
        "estimated_dice": list(_means(first, "estimated_dice")),
        "unchanged": [1.0 - share for share in edited if isinstance(share, int | float)],
    }


def _means(rounds: Sequence[Round], name: str) -> Iterator[float]:
    for one in rounds:
        values = _numbers(one.facts, name)
        if values:
            yield float(np.mean(values))


def _numbers(facts: Mapping[str, object], name: str) -> list[float]:
    found = facts.get(name)
    return [float(value) for value in found if isinstance(value, int | float)] if isinstance(found, list) else []
