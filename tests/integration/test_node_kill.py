"""SIGKILL at bad moments: what was stored is answered, once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from node_harness import TRAINED_S, RunningNode, is_gone, now, phantom, reader, running_node, wait_for

from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

pytestmark = pytest.mark.orthanc


def one_answer_each(node: RunningNode) -> None:
    """Every trigger has one round, every round one prediction, and no file is left over."""
    triggers = Counter(r.trigger_uid for r in node.rounds())
    assert set(triggers.values()) == {1}
    kinds = Counter((r.round_id, result.kind) for r in node.rounds() for result in node.store.records.results_of(r.round_id))
    assert all(count == 1 for count in kinds.values())
    wait_for(lambda: not list((node.folder / "data" / "outbox").glob("*")), "an empty outbox")


def leased(node: RunningNode, kind: str) -> bool:
    return any(job.kind == kind for job in node.store.queries.jobs("leased"))


def test_learner_killed_while_it_answers(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc) as node:
        files, truth_DHW = phantom(slices=20, size=160)
        images = node.send(files)
        person = reader(images, truth_DHW)
        drawings = [person.draw([4 + k, 14 - k], now()) for k in range(3)]
        for drawing in drawings:
            node.archive.store(drawing)
            wait_for(lambda: leased(node, "respond"), "the answer to begin", 60)
            node.kill()
            node.start()
        for drawing in drawings:
            node.answered(drawing)
        assert [node.round_of(drawing).number for drawing in drawings] == [1, 2, 3]
        one_answer_each(node)
        assert len(node.objects("prediction", images)) == 1


@pytest.mark.timeout(600)
def test_learner_killed_while_it_learns(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc, steps=40) as node:
        files, truth_DHW = phantom(slices=20, size=96)
        images = node.send(files)
        drawing = reader(images, truth_DHW).draw([5, 12], now())
        node.archive.store(drawing)
        node.answered(drawing)
        wait_for(lambda: leased(node, "learn"), "learning to begin")
        node.kill()
        assert node.store.checkpoints.head("prostate") is None
        node.start()
        checkpoint = wait_for(lambda: node.store.checkpoints.head("prostate"), "the checkpoint", TRAINED_S)
        assert checkpoint.number == 1
        one_answer_each(node)


def test_a_trainer_that_is_killed_is_started_again(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc) as node:
        before = wait_for(lambda: node.get("/status"), "the status")
        assert before["node"]["trainer_alive"]
        trainer = node.trainer_pid
        os.kill(trainer, signal.SIGKILL)
        wait_for(lambda: node.get("/status")["node"]["trainer_restarts"] == 1, "the restart to be counted")
        wait_for(lambda: node.get("/status")["node"]["trainer_alive"] and node.trainer_pid != trainer, "a new trainer")


def test_the_trainer_ends_with_its_parent(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc) as node:
        trainer = wait_for(lambda: node.trainer_pid, "the trainer")
        node.kill()
        wait_for(lambda: is_gone(trainer), "the trainer's end", 90)


def test_orthanc_killed_between_last_instance_and_stability(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc, reconcile_s=2.0) as node:
        files, truth_DHW = phantom()
        for file in files:
            node.archive.store(file)
        node.orthanc.kill()
        node.orthanc.start()
        images = node.send(files)
        drawing = reader(images, truth_DHW).draw([4, 9], now())
        node.archive.store(drawing)
        node.answered(drawing)
        one_answer_each(node)


def test_an_annotation_that_waits_is_answered_though_stability_is_never_told(
    tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]
) -> None:
    """Orthanc dies between the last instance and stability, and never tells of it: the scan after the outage finds it."""
    with running_node(tmp_path, make_orthanc, orthanc_stable_age=30) as node:
        files, truth_DHW = phantom()
        drawing = reader(read_series(files), truth_DHW).draw([4, 9], now())
        node.archive.store(drawing)
        node.answered(drawing, "waiting")
        for file in files:
            node.archive.store(file)
        node.orthanc.kill()
        wait_for(lambda: node.get("/status")["node"]["archive_error"], "the outage to be seen")
        node.orthanc.start()
        node.answered(drawing)
        one_answer_each(node)


def test_what_arrives_while_the_learner_is_down_is_answered_in_order(
    tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]
) -> None:
    with running_node(tmp_path, make_orthanc, start=False) as node:
        node.configure()
        files, truth_DHW = phantom()
        images = node.send(files)
        person = reader(images, truth_DHW)
        drawings = [person.draw([index], now()) for index in (4, 7, 9)]
        for drawing in drawings:
            node.archive.store(drawing)
        node.orthanc.kill()
        node.orthanc.start()
        node.start()
        for drawing in drawings:
            node.answered(drawing)
        assert [node.round_of(drawing).number for drawing in drawings] == [1, 2, 3]
        one_answer_each(node)


def test_orthanc_down_while_an_answer_is_due(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc) as node:
        files, truth_DHW = phantom(slices=20, size=160)
        images = node.send(files)
        drawing = reader(images, truth_DHW).draw([5, 12], now())
        node.archive.store(drawing)
        wait_for(lambda: node.round_of(drawing), "the trigger")
        node.orthanc.kill()
        node.orthanc.start()
        node.answered(drawing)
        one_answer_each(node)
        assert len(node.objects("prediction", images)) == 1
