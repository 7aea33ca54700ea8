"""A study is forgotten by a running node that is killed meanwhile: real Orthanc, the node and its trainer as processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from node_harness import TRAINED_S, RunningNode, now, phantom, reader, running_node, wait_for

from learner.demo.orthanc import LocalOrthanc
from learner.domain.case import RoundState

pytestmark = pytest.mark.orthanc


def forgotten(node: RunningNode) -> Any:
    """The only order, once nothing is left to do."""
    (order,) = node.get("/forgotten")
    return order if order["purged_at"] and order["trainer_done"] and not order["results_to_delete"] else None


@pytest.mark.timeout(600)
def test_a_study_is_forgotten_though_the_node_is_killed_and_another_is_answered_as_ever(
    tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]
) -> None:
    with running_node(tmp_path, make_orthanc) as node:
        (files, truth_DHW), (others, other_truth_DHW) = (phantom(slices=10, size=48, seed=n, number=n) for n in (1, 2))
        images, other_images = node.send(files), node.send(others)
        study = str(images.headers[0].StudyInstanceUID)
        drawing = reader(images, truth_DHW).draw([3, 6], now())
        node.archive.store(drawing)
        number = node.answered(drawing).round_id
        wait_for(lambda: node.store.checkpoints.head("prostate"), "the checkpoint", TRAINED_S)
        assert len(node.objects("prediction", images)) == 1

        assert httpx2.post(f"{node.url}/api/studies/{study}/forget", timeout=30).status_code == 202
        node.kill()
        node.start()
        wait_for(lambda: forgotten(node), "the study to be forgotten", TRAINED_S)

        assert node.objects("prediction", images) == []
        content = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
        for uid in (study, images.headers[0].SeriesInstanceUID, images.headers[0].SOPInstanceUID):
            assert str(uid).encode() not in content
        assert list((tmp_path / "data" / "replay").rglob("*.npz")) == []
        assert all(one["from_forgotten"] for one in node.get("/models/prostate/versions"))

        node.archive.store(reader(images, truth_DHW).draw([4, 7], now()))
        other = reader(other_images, other_truth_DHW).draw([3, 6], now())
        node.archive.store(other)
        node.answered(other)
        states = {one.round_id: one.state for one in node.rounds()}
        assert states[number] is RoundState.FORGOTTEN
        assert RoundState.QUEUED not in states.values()
        assert node.store.queries.cases_of_study(study) == []
        assert len(node.objects("prediction", other_images)) == 1
        assert "cannot be forgotten yet" not in node.log()
