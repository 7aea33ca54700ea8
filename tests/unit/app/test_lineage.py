"""What the audit record tells of versions and answers, from what the learner wrote into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from learning_fakes import Stream, example, keys

from learner import operations
from learner.app.lineage import Lineage, NotInRecord
from learner.app.withdrawal import take_back
from learner.domain.audit import PURGED, Event
from learner.domain.case import RoundEvent

STATION = {"manufacturer": "Maker", "station": "WS 1"}


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


def drawn(stream: Stream, name: str, reader: str) -> int:
    """A case that a reader drew, answered and learned from."""
    round_id = stream.add(example(name))
    case = stream.store.records.find_round(round_id).case_id
    stream.store.records.note_facts(round_id, annotation_uid=f"2.25.{round_id}")
    facts = {"annotation": f"2.25.{round_id}", "reader": reader, "station": STATION, "case": case, "task": "liver", "number": 1}
    said = {"said": {"drawn": [[0, 1], [0, 3]]}, "made_from": [f"2.25.{round_id}"], "study": "1.1"}
    network = {"checkpoint": "liver-1", "trust": 0.25, "propagator": "flow", "results": {"prediction": [f"2.25.9{round_id}"]}}
    stream.store.audit.record(Event.ANSWERED, round_id=round_id, **facts, **said, **network)
    stream.run()
    return round_id


def test_a_version_tells_all_that_it_learned_from_over_its_parents(stream: Stream) -> None:
    first, second = (drawn(stream, name, reader) for name, reader in zip(keys("take", 2), ("Eva", "Bob"), strict=True))
    found = Lineage(stream.store.audit).version("liver", "2")
    assert [(one.version, one.round_id, one.parent) for one in found.lineage] == [
        ("liver-1", first, ""),
        ("liver-2", second, "liver-1"),
    ]
    one, two = found.lineage
    assert [(s.annotation, s.reader, s.station, s.planes) for s in two.sources] == [(f"2.25.{second}", "Bob", STATION, 2)]
    assert (one.steps, two.steps) == (1, 2)
    assert two.job is not None
    assert one.sha256
    assert one.sha256 == stream.store.checkpoints.versions("liver")[1].sha256
    assert Lineage(stream.store.audit).version("liver", "liver-1").lineage == (one,)


def test_the_gates_word_and_what_was_held_back_are_told(stream: Stream) -> None:
    for name in (*keys("take", 3), *keys("hold", 1), *keys("take", 5)[3:]):
        drawn(stream, name, "Bob")
    serving = stream.serving
    assert serving is not None
    last = Lineage(stream.store.audit).version("liver", serving.name).lineage[-1]
    assert (last.served, last.verdict) == (True, serving.gate["reason"])
    assert [one.round_id for one in stream.store.audit.entries(events=[Event.HELD_BACK])] == stream.held != []


def test_what_was_withdrawn_since_is_marked(stream: Stream) -> None:
    (name,) = keys("take", 1)
    round_id = drawn(stream, name, "Eva")
    stream.store.records.apply(round_id, RoundEvent.DELIVERED)
    take_back(stream.store, stream.store.records.find_round(round_id), "Eva")
    (ancestor,) = Lineage(stream.store.audit).version("liver", "1").lineage
    assert [source.withdrawn for source in ancestor.sources] == [True]


def test_a_rollback_is_told_with_who_wanted_it(stream: Stream) -> None:
    for name in keys("take", 6):
        drawn(stream, name, "Eva")
    drawn(stream, keys("hold", 1)[0], "Eva")
    before = stream.serving
    assert before is not None
    target = next(one for one in stream.store.checkpoints.versions("liver") if one.name != before.name)
    operations.roll_back(stream.store, "liver", target.name, by="Admin")
    (told,) = Lineage(stream.store.audit).version("liver", target.name).rolled_back
    assert (told["serves"], told["instead_of"], told["by"]) == (target.name, before.name, "Admin")


def test_a_round_tells_why_its_answer_looked_so(stream: Stream) -> None:
    stream.store.audit.record(Event.STARTED, software="1.0", settings={"answer": {"propagator": "flow"}})
    (name,) = keys("take", 1)
    round_id = drawn(stream, name, "Eva")
    stream.store.audit.record(Event.STARTED, software="2.0", settings={})
    stream.store.records.note_facts(round_id, slices=6)
    found = Lineage(stream.store.audit).round(stream.store.records.find_round(round_id))
    assert found.trigger is not None
    assert (found.trigger.reader, found.network, found.trust, found.propagator) == ("Eva", "liver-1", 0.25, "flow")
    assert found.said == {"drawn": [[0, 1], [0, 3]]}
    assert (found.software, found.settings) == ("1.0", {"answer": {"propagator": "flow"}})
    assert found.learned_in == ("liver-1",)
    assert found.measured == {"slices": 6}
    assert found.reactions == ()
    assert [one.event for one in found.history] == [Event.ANSWERED, Event.LEARNED]


def test_names_are_left_out_for_machines(stream: Stream) -> None:
    round_id = drawn(stream, keys("take", 1)[0], "Eva")
    nameless = Lineage(stream.store.audit, names=False)
    told = str(asdict(nameless.round(stream.store.records.find_round(round_id)))) + str(asdict(nameless.version("liver", "1")))
    assert "Eva" not in told
    assert "WS 1" in told


def test_a_purged_study_leaves_the_line_of_versions(stream: Stream) -> None:
    first, second = (drawn(stream, name, "Eva") for name in keys("take", 2))
    stream.store.audit.purge_rounds([first])
    one, two = Lineage(stream.store.audit).version("liver", "2").lineage
    assert (one.round_id, one.sources[0].annotation) == (first, PURGED)
    assert two.sources[0].annotation == f"2.25.{second}"


@pytest.mark.parametrize("name", ["9", "liver-9", "spleen-1"])
def test_what_there_was_never_is_not_told(name: str, stream: Stream) -> None:
    with pytest.raises(NotInRecord, match="no version"):
        Lineage(stream.store.audit).version("liver", name)
