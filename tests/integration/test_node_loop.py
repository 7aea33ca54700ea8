"""The loop on a real node: images in, drawing in, answer out, learned, next study answered before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from node_harness import TRAINED_S, dice, now, phantom, reader, running_node, wait_for

from learner.demo.orthanc import LocalOrthanc

pytestmark = pytest.mark.orthanc


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store_by", ["rest", "dicomweb", "dimse"])
def test_three_rounds_and_the_next_study(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc], store_by: str) -> None:
    with running_node(tmp_path, make_orthanc, steps=6, store_by=store_by) as node:
        files, truth_DHW = phantom()
        images = node.send(files)
        person = reader(images, truth_DHW)

        first = person.draw([3, 7, 10], now())
        node.archive.store(first)
        answered = node.answered(first)
        assert answered.number == 1
        prediction_DHW = node.prediction(images)
        assert np.array_equal(prediction_DHW[[3, 7, 10]] > 0, truth_DHW[[3, 7, 10]] > 0), "drawn slices come back as drawn"
        assert dice(prediction_DHW, truth_DHW) > 0.8
        suggested = [s["index"] for s in answered.facts["guidance"]]
        assert suggested
        assert not {3, 7, 10} & set(suggested)
        assert node.objects("key-objects", images)
        assert node.objects("report", images)
        wait_for(lambda: node.store.checkpoints.head("prostate"), "the first version", TRAINED_S)
        assert node.store.checkpoints.serving("prostate") is None, "nobody drew anything yet that it had not seen"

        (prediction,) = node.objects("prediction", images)
        missing = [i for i in range(14) if i not in {3, 7, 10} and (prediction_DHW[i] != truth_DHW[i]).any()][:2]
        second = person.edit(prediction, missing, now())
        node.archive.store(second)
        answered = node.answered(second)
        assert answered.number == 2
        assert answered.facts["edited"]
        assert answered.facts["new_slices"] == len(missing), "only the edited slices are new"
        assert not answered.checkpoint, "what is in shadow takes no part"
        assert len(node.objects("prediction", images)) == 1, "the superseded prediction is gone"
        wait_for(lambda: node.store.checkpoints.serving("prostate"), "a version that foresaw what was newly drawn")

        unchanged = person.edit(node.objects("prediction", images)[0], [], now())
        node.archive.store(unchanged)
        node.answered(unchanged, "unchanged")

        third = person.contour([5], now())
        node.archive.store(third)
        answered = node.answered(third)
        assert answered.number == 3
        assert answered.checkpoint == "prostate-1"
        assert answered.facts["foresight"]
        assert node.objects("residual-bands", images)
        assert node.objects("residual-map", images)

        wait_for(lambda: not node.store.queries.jobs("ready", "leased"), "all learning done")
        other_files, _truth = phantom(seed=2, number=2)
        other = node.send(other_files)
        wait_for(lambda: node.objects("prediction", other), "the answer before anything is drawn")
        zero = next(r for r in node.rounds() if r.number == 0)
        wait_for(lambda: node.store.records.find_round(zero.round_id).state == "answered", "round 0")
        assert node.store.records.find_round(zero.round_id).facts["guidance"]
        assert '"level": "error"' not in node.log()


@pytest.mark.timeout(600)
def test_idle_time_is_for_rehearsal(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> None:
    with running_node(tmp_path, make_orthanc, idle_steps=7) as node:
        files, truth_DHW = phantom(size=48)
        drawing = reader(node.send(files), truth_DHW).draw([3, 7, 10], now())
        node.archive.store(drawing)
        node.answered(drawing)
        (learned,) = wait_for(
            lambda: [line for line in node.log().splitlines() if '"event": "learned"' in line], "a version", TRAINED_S
        )
        assert json.loads(learned)["rehearsed"] == 7
