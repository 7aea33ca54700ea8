"""What the audit record tells: what a version learned from, and why an answer looked as it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from learner.domain.audit import PURGED, Entry, Event, nameless
from learner.domain.case import Round
from learner.errors import ApprenticeError
from learner.ports import Audit

_MADE = (Event.BEGUN, Event.LEARNED, Event.FORGOTTEN, Event.TRAINED_ANEW)


class NotInRecord(ApprenticeError):
    """The audit record tells nothing of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """An annotation object.

    Attributes:
        annotation: its SOP Instance UID.
        round_id: the round that took it in, or None where the record does not tell.
        reader: who drew, as recorded; empty where nobody is named.
        station: Manufacturer, Manufacturer's Model Name, Station Name and Source Application Entity Title, as far as given.
        planes: planes of the volume that it said something of.
        withdrawn: whether it was taken back since.
    """

    annotation: str
    round_id: int | None
    reader: str
    station: dict[str, str]
    planes: int
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A version in the line that leads to another, the other itself included.

    Attributes:
        version: its name.
        event: ``learned``, ``forgotten`` (a version that was made to forget a case), ``trained anew`` (from what
            was remembered) or ``begun from a bundle``.
        at: POSIX time.
        parent: the version that it was trained from; empty for the first.
        steps: training steps since the beginning of the model.
        sha256: hash of its file.
        job: number of the learn job; None where the record does not tell.
        round_id: the round whose case was learned or forgotten; None for a bundle.
        case: number of that case; None for a bundle.
        task: of the case.
        sources: the annotations that the case consisted of.
        bundle: which bundle it began from; empty for none.
        served: whether the gate let it serve; None where it was not judged.
        verdict: the gate's word.
    """

    version: str
    event: str
    at: float
    parent: str
    steps: int
    sha256: str
    job: int | None
    round_id: int | None
    case: int | None
    task: str
    sources: tuple[Source, ...]
    bundle: str
    served: bool | None
    verdict: str


@dataclass(frozen=True, slots=True)
class VersionAudit:
    """What a version of a model learned from.

    Attributes:
        version: its name.
        model: its model.
        lineage: the versions that led to it, oldest first, and itself.
        rolled_back: when a person made another version serve or this one again: time, by whom, and in place of which.
    """

    version: str
    model: str
    lineage: tuple[Ancestor, ...]
    rolled_back: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RoundAudit:
    """Why an answer looked as it did, and what became of it.

    Attributes:
        round_id: its round.
        task: of the case; empty where the round has no answer.
        case: number of the case, or None.
        number: round of the case, or None.
        trigger: the annotation that asked for it; None for new images, and for a drawing that was taken back.
        made_from: all annotations that the answer was made from.
        said: planes that the trigger said something of, ``[axis, index]`` by kind.
        rules: which rules of the annotation contract applied, and to what end.
        propagator: what carried the drawings to the other slices; empty where nothing was drawn.
        network: the version of the model that took part; empty for none.
        trust: the network's share in the answer where the drawings say little, in [0, 1).
        results: SOP Instance UIDs of the objects that were sent, by kind.
        reactions: what readers did with the answer; none where nothing came.
        learned_in: versions that learned from the round.
        software: version of the software; empty where the record does not tell.
        settings: the settings in force.
        measured: what stands in the round's facts still: slices, estimates, guidance, remarks.
        history: all that the record says of the round, oldest first.
    """

    round_id: int
    task: str
    case: int | None
    number: int | None
    trigger: Source | None
    made_from: tuple[Source, ...]
    said: dict[str, list[list[int]]]
    rules: dict[str, Any]
    propagator: str
    network: str
    trust: float | None
    results: dict[str, list[str]]
    reactions: tuple[dict[str, Any], ...]
    learned_in: tuple[str, ...]
    software: str
    settings: dict[str, Any]
    measured: dict[str, Any]
    history: tuple[Entry, ...]


class Lineage:
    """Reads the audit record.

    Args:
        audit: the record.
        names: whether people's names are told.
    """

    def __init__(self, audit: Audit, *, names: bool = True) -> None:
        self._audit = audit
        self._told: Callable[[Entry], Entry] = (lambda entry: entry) if names else nameless

    def version(self, model_id: str, name: str) -> VersionAudit:
        """What a version learned from.

        Args:
            model_id: the model.
            name: such as ``prostate-12``, or ``12``.

        Raises:
            NotInRecord.
        """
        made = {one.version: one for one in self._entries(*_MADE) if one.facts.get("model") == model_id}
        wanted = name if name in made else f"{model_id}-{name}"
        if wanted not in made:
            raise NotInRecord(f"the record has no version {name} of model {model_id}; `apprentice versions` lists them")
        verdicts = {one.version: one for one in self._entries(Event.JUDGED)}
        answers, sources = self._answers(), self._sources()
        line = [self._ancestor(one, verdicts.get(one.version), answers, sources) for one in _line(made, wanted)]
        rolled = [one for one in self._entries(Event.ROLLED_BACK) if wanted in (one.version, one.facts.get("instead_of"))]
        told = tuple({"at": one.at, "serves": one.version, **one.facts} for one in rolled)
        return VersionAudit(wanted, model_id, tuple(line), told)

    def round(self, round_: Round) -> RoundAudit:
        """Why the answer of a round looked as it did; of a round without an answer, what became of it."""
        history = tuple(map(self._told, self._audit.entries(round_id=round_.round_id)))
        answer = next((one for one in reversed(history) if one.event is Event.ANSWERED), None)
        facts = answer.facts if answer is not None else {}
        sources = self._sources()
        started = self._started(before=answer.number if answer is not None else 2**62)
        rules = ("edited", "accepted", "share_changed", "withdrawn_round", "prior_study")
        kept = ("drawn_slices", "slices", "new_slices", "estimated_dice", "foresight", "enough", "guidance", "remarks")
        learned = [one for one in self._entries(*_MADE) if round_.round_id in (one.round_id, one.facts.get("job_round"))]
        origin = next((one.facts["annotation"] for one in reversed(history) if one.facts.get("annotation")), "")
        return RoundAudit(
            round_id=round_.round_id,
            task=facts.get("task", ""),
            case=facts.get("case"),
            number=facts.get("number"),
            trigger=next((s for s in sources.values() if s.round_id == round_.round_id), _unknown(origin) if origin else None),
            made_from=tuple(sources.get(uid, _unknown(uid)) for uid in facts.get("made_from", ())),
            said=facts.get("said", {}),
            rules={name: facts[name] for name in rules if facts.get(name)},
            propagator=facts.get("propagator", ""),
            network=facts.get("checkpoint", ""),
            trust=facts.get("trust"),
            results=facts.get("results", {}),
            reactions=tuple({"at": one.at, **one.facts} for one in history if one.event is Event.REACTION),
            learned_in=tuple(dict.fromkeys(one.version for one in learned)),
            software=started.get("software", ""),
            settings=started.get("settings", {}),
            measured={name: round_.facts[name] for name in kept if name in round_.facts},
            history=history,
        )

    def _entries(self, *events: Event) -> tuple[Entry, ...]:
        return tuple(map(self._told, self._audit.entries(events=events)))

    def _answers(self) -> dict[int, Entry]:
        """The latest answer of each round."""
        return {one.round_id: one for one in self._entries(Event.ANSWERED) if one.round_id is not None}

    def _sources(self) -> dict[str, Source]:
        """All annotation objects that were answered, by SOP Instance UID; by round where that is purged."""
        withdrawn = {one.round_id for one in self._entries(Event.WITHDRAWN)}
        found = {}
        for round_id, one in self._answers().items():
            uid = one.facts.get("annotation")
            if uid:
                planes = sum(len(planes) for planes in one.facts.get("said", {}).values())
                by = (one.facts.get("reader", ""), one.facts.get("station", {}))
                found[uid if uid != PURGED else f"{uid} {round_id}"] = Source(uid, round_id, *by, planes, round_id in withdrawn)
        return found

    def _ancestor(self, made: Entry, verdict: Entry | None, answers: dict[int, Entry], sources: dict[str, Source]) -> Ancestor:
        facts, answer = made.facts, answers.get(made.round_id or 0)
        told = answer.facts if answer is not None else {}
        taught = _latest(made, answers) if made.event is Event.TRAINED_ANEW else [told]
        uids = [uid for one in taught for uid in one.get("made_from") or [one.get("annotation")] if uid]
        return Ancestor(
            version=made.version,
            event=str(made.event),
            at=made.at,
            parent=facts.get("parent", ""),
            steps=facts.get("steps", 0),
            sha256=facts.get("sha256", ""),
            job=facts.get("job"),
            round_id=made.round_id,
            case=told.get("case"),
            task=told.get("task", ""),
            sources=tuple(sources.get(uid, _unknown(uid)) for uid in uids),
            bundle=str(facts.get("origin", {}).get("bundle", "")),
            served=verdict.facts.get("serve") if verdict is not None else None,
            verdict=str(verdict.facts.get("reason", "")) if verdict is not None else "",
        )

    def _started(self, before: int) -> dict[str, Any]:
        """Software and settings of the latest start before an entry."""
        found = [one for one in self._entries(Event.STARTED) if one.number < before]
        return found[-1].facts if found else {}


def _line(made: dict[str, Entry], name: str) -> Iterator[Entry]:
    """A version and all that it comes from, oldest first."""
    line: dict[str, Entry] = {}
    while name in made and name not in line:
        line[name] = made[name]
        name = str(made[name].facts.get("parent", ""))
    return reversed(line.values())


def _latest(made: Entry, answers: dict[int, Entry]) -> list[dict[str, Any]]:
    """What is told of the last answer of each case that a version was trained anew from."""
    cases = made.facts.get("cases") or []
    of_case = {one.facts.get("case"): one.facts for one in answers.values() if one.number < made.number}
    return [of_case[case] for case in cases if case in of_case]


def _unknown(uid: str) -> Source:
    """An annotation of which the record says no more than that it was there."""
    return Source(uid, None, "", {}, 0, withdrawn=False)
