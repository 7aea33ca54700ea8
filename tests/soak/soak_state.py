"""Whether archive, records and files of a node agree, once nothing is left to do: what no crash may break."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch
from node_harness import RunningNode
from pydicom import dcmread
from soak_look import Look

from learner.model.state import TrainerState, load_state

KINDS_OF_FILES = ("outbox", "examples", "rounds", "checkpoints", "replay")
_END_STATES = {"answered", "unchanged"}
_OTHER_FILES = {
    "apprentice.sqlite",
    "apprentice.sqlite-wal",
    "apprentice.sqlite-shm",
    "lock",
    "trainer-lock",
    "case-key",
    "access-key",
}


def inconsistencies(node: RunningNode, triggers: Iterable[str], sent_by_us: Iterable[str]) -> list[str]:
    """All that does not agree, in words; an empty list if everything does.

    Args:
        node: with nothing left to do.
        triggers: identifiers of the annotation objects.
        sent_by_us: Series Instance UIDs of images and annotations.
    """
    return [*_records(node, set(triggers)), *_archive(node, set(sent_by_us)), *_files(node), *_models(node)]


def _records(node: RunningNode, triggers: set[str]) -> Iterator[str]:
    rounds = node.rounds()
    found = Counter(one.trigger_uid for one in rounds)
    yield from (f"trigger {name} has {found[name]} rounds" for name in triggers if found[name] != 1)
    yield from (f"round {one.round_id} is {one.state}" for one in rounds if one.state not in _END_STATES)
    yield from (
        f"annotation's round {r.round_id} is {r.state}" for r in rounds if r.trigger_uid in triggers and r.state != "answered"
    )
    for one in rounds:
        kinds = Counter(result.kind for result in node.store.records.results_of(one.round_id))
        yield from (f"round {one.round_id} has {count} results of kind {kind}" for kind, count in kinds.items() if count != 1)
        if one.state == "answered" and not kinds["prediction"]:
            yield f"round {one.round_id} is answered without a prediction"
    numbers: dict[int, list[int]] = {}
    for one in (one for one in rounds if one.state == "answered"):
        numbers.setdefault(one.case_id, []).append(one.number)
    yield from (f"case {case} has rounds {found}" for case, found in numbers.items() if len(set(found)) != len(found))
    look = Look(node.folder / "data")
    open_jobs = look.rows("SELECT kind, round_id, state, reason FROM jobs WHERE state <> 'done'")
    yield from (f"{job['kind']} job of round {job['round_id']} is {job['state']}: {job['reason']}" for job in open_jobs)
    for pragma in ("integrity_check", "foreign_key_check"):
        rows = [tuple(row) for row in look.rows(f"PRAGMA {pragma}")]
        if rows not in ([], [("ok",)]):
            yield f"{pragma}: {rows}"
    look.close()


def _archive(node: RunningNode, sent_by_us: set[str]) -> Iterator[str]:
    """What the node wrote stands in the archive once, and nothing else does."""
    look = Look(node.folder / "data")
    recorded = {
        row["series_uid"]: row["sop_uid"]
        for row in look.rows("SELECT series_uid, sop_uid FROM results WHERE sent_at IS NOT NULL AND deleted_at IS NULL")
    }
    look.close()
    standing = {}
    for status in node.archive.scan():
        if status.series_instance_uid not in sent_by_us:
            files = node.archive.fetch_series(status)
            standing[status.series_instance_uid] = [
                str(dcmread(BytesIO(f), stop_before_pixels=True).SOPInstanceUID) for f in files
            ]
            if " prediction r" in status.series_description and len(files) != 1:
                yield f"series {status.series_instance_uid} holds {len(files)} predictions"
    yield from (f"series {uid} is recorded as sent and is not in the archive" for uid in recorded.keys() - standing.keys())
    yield from (f"series {uid} is in the archive and not recorded" for uid in standing.keys() - recorded.keys())
    for uid in recorded.keys() & standing.keys():
        if standing[uid] != [recorded[uid]]:
            yield f"series {uid} holds {standing[uid]}, recorded is {recorded[uid]}"


def _files(node: RunningNode) -> Iterator[str]:
    """Each file is named by a record, and each record's file is there."""
    look = Look(node.folder / "data")

    def column(sql: str) -> set[str]:
        return {str(row[0]) for row in look.rows(sql)}

    wanted = {
        "outbox": set(),
        "examples": column("SELECT printf('examples/%08d.npz', round_id) FROM lessons WHERE held"),
        "rounds": column("SELECT printf('rounds/%08d.npz', round_id) FROM rounds WHERE state = 'answered'"),
        "checkpoints": column("SELECT path FROM checkpoints WHERE kept"),
    }
    look.close()
    for folder, names in wanted.items():
        found = look.files(folder)
        yield from (f"orphan {name}" for name in sorted(found - names))
        yield from (f"{name} is gone" for name in sorted(names - found))
    others = {name for name in look.files() if name.partition("/")[0] not in KINDS_OF_FILES}
    yield from (f"unknown file {name}" for name in sorted(others - _OTHER_FILES))


def _models(node: RunningNode) -> Iterator[str]:
    """Checkpoints have their hashes, and the replay memory is what they say."""
    look, checkpoints = Look(node.folder / "data"), node.store.checkpoints
    versions = checkpoints.versions(node.task_id)
    if [one.number for one in versions] != list(range(len(versions), 0, -1)):
        yield f"versions are {[one.number for one in versions]}"
    named: dict[int, set[str]] = {}
    for one in checkpoints.history(node.task_id):
        content = (look.data / one.path).read_bytes()
        if hashlib.sha256(content).hexdigest() != one.sha256:
            yield f"{one.name} does not have its hash"
        named[one.number] = {entry["file"] for entry in load_state(content).replay}
    files = {name.rpartition("/")[2] for name in look.files("replay")}
    for name in sorted(look.replay()):
        if hashlib.sha256((look.data / name).read_bytes()).hexdigest() != name.rpartition("/")[2].removesuffix(".npz"):
            yield f"{name} does not have its hash"
    head = checkpoints.head(node.task_id)
    if head is not None:
        known = named[head.number] | named.get(head.number - 1, set())
        yield from (f"replay file {name} is named by no recent version" for name in sorted(files - known))
        yield from (f"replay file {name} is gone" for name in sorted(named[head.number] - files))


@dataclass(frozen=True)
class Outcome:
    """What a run came to, to be compared with another run of the same story.

    Attributes:
        state: of the head; None where nothing was learned.
        versions: how many versions there were.
        predictions: digest of the standing prediction's pixels, by study.
        rounds: state and number by trigger.
    """

    state: TrainerState | None
    versions: int
    predictions: Mapping[str, str]
    rounds: Mapping[str, tuple[str, int | None]]


def outcome(node: RunningNode) -> Outcome:
    """What a node has come to."""
    head = node.store.checkpoints.head(node.task_id)
    predictions = {}
    for status in node.archive.scan():
        if " prediction r" in status.series_description:
            (file,) = node.archive.fetch_series(status)
            predictions[status.study_instance_uid] = hashlib.sha256(dcmread(BytesIO(file)).PixelData).hexdigest()
    return Outcome(
        None if head is None else load_state(node.store.checkpoints.read(head)),
        len(node.store.checkpoints.versions(node.task_id)),
        predictions,
        {one.trigger_uid: (str(one.state), one.number) for one in node.rounds()},
    )


def differences(one: Outcome, other: Outcome) -> Iterator[str]:
    """How two runs differ, in words."""
    if one.state is not None and other.state is not None:
        for part in ("weights", "average"):
            yield from _tensors(part, getattr(one.state, part), getattr(other.state, part))
        if one.state.moments.keys() != other.state.moments.keys():
            yield "the optimizer remembers other weights"
        for name in one.state.moments.keys() & other.state.moments.keys():
            yield from _tensors(f"moments of {name}", one.state.moments[name], other.state.moments[name])
        for part in ("steps", "skipped", "rng", "replay", "labels"):
            if json.dumps(getattr(one.state, part), sort_keys=True) != json.dumps(getattr(other.state, part), sort_keys=True):
                yield f"{part} of the trainer differ"
    elif one.state is not other.state:
        yield "only one of them learned anything"
    for part in ("versions", "predictions", "rounds"):
        if getattr(one, part) != getattr(other, part):
            yield f"{part} differ"


def _tensors(part: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    if one.keys() != other.keys() or not all(torch.equal(one[name], other[name]) for name in one):
        yield f"{part} differ"
