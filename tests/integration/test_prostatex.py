"""A prostate MR of 384x384x19 voxels, four slices of its human zones drawn, the trainer at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from node_harness import dice, now, phantom, reader, running_node, wait_for

from dicom_io.pacs.dimse import send
from dicom_io.read_series import read_series
from learner.demo.orthanc import LocalOrthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.data]


def on_grid(nifti: Path, affine_lps: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A NIfTI label map (x, y, z; RAS) on a series' grid (slice, row, column; LPS), by its affine."""
    image = nib.load(nifti)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    to_voxel = np.linalg.inv(image.affine) @ to_ras
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    voxel = np.rint(index @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    data = np.asarray(image.dataobj)
    assert (voxel >= 0).all()
    assert (voxel < data.shape).all()
    return data[tuple(voxel.T)].reshape(shape)


def test_the_answer_is_there_and_good(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc], data_dir: Path) -> None:
    files = [path.read_bytes() for path in sorted((data_dir / "prostatex" / "ProstateX-0000_t2_tra").glob("*"))]
    source = read_series(files)
    zones = on_grid(
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
