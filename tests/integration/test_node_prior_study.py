"""A patient who returns, with a real Orthanc: the new study is answered from the one that was drawn on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_harness import dice, now, phantom, reader, running_node, wait_for, with_attributes

from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

pytestmark = pytest.mark.orthanc


def test_the_first_answer_to_a_new_study_comes_from_the_earlier_one(
    tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]
) -> None:
    with running_node(tmp_path, make_orthanc, steps=1) as node:
        files, truth_DHW = phantom(number=1)
        first = node.send(files)
        node.answered(_drawn(node, reader(first, truth_DHW).draw([2, 4, 7, 9, 11], now())))
        again, _ = phantom(number=2)
        node.send([with_attributes(file, PatientID="DEMO-0001") for file in again])

        def undrawn() -> Any:
            return next((r for r in node.rounds() if r.number == 0 and r.state == "answered"), None)

        round_ = wait_for(undrawn, "the answer to the new study")
        prior = round_.facts["prior"]
        assert (prior["carried"], prior["study_instance_uid"]) == (True, first.volume.series.study_instance_uid)
        images = read_series([with_attributes(file, PatientID="DEMO-0001") for file in again])
        assert dice(node.prediction(images, round_), truth_DHW) > 0.8
        assert "DEMO-0001" not in node.log()


def _drawn(node: Any, file: bytes) -> bytes:
    node.archive.store(file)
    return file
