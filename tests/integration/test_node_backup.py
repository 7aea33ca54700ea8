"""A node is backed up at work, goes on, is lost and comes back: with the same versions, and the same answers in the archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_harness import TRAINED_S, RunningNode, now, phantom, reader, running_node, wait_for

from learner.demo.orthanc import LocalOrthanc
from learner.domain.checkpoint import Checkpoint

pytestmark = pytest.mark.orthanc


def command(node: RunningNode, *arguments: object) -> dict[str, Any]:
    line = [sys.executable, "-m", "learner", *map(str, arguments), "--json", "-c", str(node.folder / "apprentice.toml")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def trained(node: RunningNode, steps_after: int = 0) -> Checkpoint:
    def newest() -> Checkpoint | None:
        head = node.store.checkpoints.head("prostate")
        idle = not node.store.queries.jobs("leased") and not node.store.queries.jobs("ready")
        return head if head is not None and head.steps > steps_after and idle else None

    return wait_for(newest, "a version and no job left", TRAINED_S)


def results(node: RunningNode, file: bytes) -> dict[str, tuple[str, str]]:
    """UIDs of what answered an annotation, by kind."""
    found = node.store.records.results_of(node.round_of(file).round_id)
    return {one.kind: (one.sop_instance_uid, one.series_instance_uid) for one in found}


def same(one: dict[str, tuple[str, str]], other: dict[str, tuple[str, str]]) -> bool:
    """Whether two answers are the same objects; which there are besides the prediction depends on the version that serves."""
    both = one.keys() & other.keys()
    return "prediction" in both and all(one[kind] == other[kind] for kind in both)


@pytest.mark.timeout(900)
def test_a_lost_node_comes_back_and_answers_the_same(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path / "node", make_orthanc, reconcile_s=5.0) as node:
        files, truth_DHW = phantom()
        images = node.send(files)
        person = reader(images, truth_DHW)
        first, second, third, late = (person.draw([index], now()) for index in (4, 7, 9, 6))
        node.archive.store(first)
        node.answered(first)
        trained(node)
        node.archive.store(second)
        wait_for(lambda: node.round_of(second), "the second drawing to be taken in")
        made = command(node, "backup", tmp_path)  # while it answers or learns
        node.answered(second)
        trained(node)
        kept = {one.name: one.sha256 for one in node.store.checkpoints.history("prostate")}
        node.archive.store(third)
        node.answered(third)
        before = [results(node, file) for file in (first, second, third)]
        lost = {node.round_of(file).trigger_uid: node.round_of(file).number for file in (first, second, third)}

        node.kill()
        node.store.close()
        shutil.rmtree(node.folder / "data")
        assert command(node, "backup", "--verify", made["path"])["files"] == made["files"]
        restored = command(node, "restore", made["path"])
        assert (Path(restored["path"]), restored["files"]) == (node.folder / "data", made["files"])
        node.start()
        for file in (first, second, third):
            node.answered(file)
        wait_for(
            lambda: not any(r.state == "queued" for r in node.rounds()), "a look at what it wrote in the time that is lost"
        )
        rounds = {r.trigger_uid: r for r in node.rounds()}
        assert {uid: rounds[uid].number for uid in lost} == lost
        assert {r.state for uid, r in rounds.items() if uid not in lost} <= {"unchanged"}, "its own results"
        assert all(same(results(node, file), found) for file, found in zip((first, second, third), before, strict=True))
        assert len(node.objects("prediction", images)) == 1

        trained(node)
        again = {one.name: one.sha256 for one in node.store.checkpoints.history("prostate")}
        assert kept.items() <= again.items(), "versions are those that there were, and learned again where they were lost"
        node.archive.store(late)
        assert node.answered(late).number == 4
        assert not node.store.queries.jobs("parked")
        assert "Traceback" not in node.log()
