"""A prostate MR of 384x384x19 voxels, four slices of its human zones drawn, the trainer at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from node_harness import dice, label_map_on_grid, now, phantom, reader, running_node, wait_for

from dicom_io.pacs.dimse import send
from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.data]


def test_the_answer_is_there_and_good(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc], data_dir: Path) -> None:
    files = [path.read_bytes() for path in sorted((data_dir / "prostatex" / "ProstateX-0000_t2_tra").glob("*"))]
    source = read_series(files)
    zones = label_map_on_grid(
        data_dir / "prostatex" / "ProstateX-0000_zones_human.nii.gz",
        source.volume.geometry.affine,
        source.volume.geometry.shape,
    )
    gland_DHW = ((zones == 1) | (zones == 2)).astype(np.uint8)
    occupied = np.flatnonzero(gland_DHW.any(axis=(1, 2)))
    assert len(occupied) > 8
    with running_node(tmp_path, make_orthanc, steps=400) as node:
        other_files, truth_DHW = phantom(size=96)
        warm_up = reader(node.send(other_files), truth_DHW).draw([4, 9], now())
        node.archive.store(warm_up)
        node.answered(warm_up)
        wait_for(lambda: node.store.queries.jobs("leased"), "the trainer to be at work")

        send(files, node.orthanc.dicom_address, called_aet=node.orthanc.aet)
        uid = source.volume.series.series_instance_uid
        wait_for(lambda: node.archive.find_series(uid).is_stable, "the series to be stable")
        drawn = [int(i) for i in np.linspace(occupied[0], occupied[-1], 4).round()]
        drawing = reader(source, gland_DHW).draw(drawn, now())
        node.archive.store(drawing)
        answered = node.answered(drawing)
        assert dice(node.prediction(source), gland_DHW) >= 0.85, answered.facts
        assert answered.facts["drawn_slices"] == drawn
